"""The orientation in a photo's EXIF block.

Found by its header wherever the format puts it: JPEG (APP1), PNG (eXIf), WebP (EXIF), or the file itself (TIFF).
"""

from __future__ import annotations

import re
import struct

from emostream.decode.formats.orientation import UPRIGHT, Orientation

_HEADER = re.compile(rb"(?:\A|Exif\0\0|eXIf|EXIF.{4})(II\*\0|MM\0\*)", re.DOTALL)
_ORIENTATION_TAG = 0x0112
# EXIF 2.3, orientation 1 … 8, by where the stored first row and column lie in the picture: rows and columns exchanged,
# then flipped vertically, then horizontally.
_ORIENTATIONS = {
    2: Orientation(False, False, True),
    3: Orientation(False, True, True),
    4: Orientation(False, True, False),
    5: Orientation(True, False, False),
    6: Orientation(True, False, True),
    7: Orientation(True, True, True),
    8: Orientation(True, True, False),
}


def orientation_from_exif(content: bytes) -> Orientation:
    """The orientation in a picture file's first EXIF block; upright where it has none, or says nothing valid."""
    found = _HEADER.search(content)
    if found is None:
        return UPRIGHT
    block = content[found.start(1) :]
    order = "<" if block[:2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", block, directory)
        for entry in range(num_entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", block, directory + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return _ORIENTATIONS.get(value, UPRIGHT)
    except struct.error:  # the block ends too early
        pass
    return UPRIGHT
