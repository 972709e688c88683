"""The borders that a file says are not to be shown.

Matroska (RFC 9559, 5.1.4.1.28.16 and the three after it) defines how many columns and lines to leave out on each side.
FFmpeg's command line does it, its libraries do not. What codecs themselves crop is left out by their decoders.
"""

from __future__ import annotations

import io
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from emostream.decode.formats.file_structure import MATROSKA_HEADER_ID, MATROSKA_SEGMENT_ID, read_vint

Pixels = TypeVar("Pixels", bound=npt.NDArray[np.uint8])

_TRACKS, _TRACK_ENTRY, _VIDEO, _CLUSTER = 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675
_SIDES = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}
_MAX_ELEMENTS = 1000  # on one level; ends the walk through a hostile file
_MAX_TRACKS_BYTES = 1 << 24


class Cropping(NamedTuple):
    """Columns and lines that are not shown, of the picture as it is stored."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def apply(self, pixels: Pixels) -> Pixels:
        """The part that is shown (H×W or H×W×C) as a view; all of it where nothing would be left."""
        if self is NOTHING_CROPPED:  # the common case, on the hot path
            return pixels
        height, width = pixels.shape[:2]
        if self.left + self.right >= width or self.top + self.bottom >= height:
            return pixels
        return pixels[self.top : height - self.bottom, self.left : width - self.right]  # type: ignore[return-value]


NOTHING_CROPPED = Cropping()


def croppings_in_matroska(file: BinaryIO) -> list[Cropping]:
    """What is cropped of each track, in the order of the file; empty when it is no Matroska, or damaged."""
    file.seek(0)
    if file.read(4) != MATROSKA_HEADER_ID or (header_size := read_vint(file)) is None:
        return []
    file.seek(header_size, 1)
    if file.read(4) != MATROSKA_SEGMENT_ID:
        return []
    read_vint(file)
    for _ in range(_MAX_ELEMENTS):
        name, size = _read_id(file), read_vint(file)
        if name in (None, _CLUSTER) or size is None:
            return []
        if name == _TRACKS:
            tracks = file.read(min(size, _MAX_TRACKS_BYTES))
            return [_cropping_of(entry) for name, entry in _elements(tracks) if name == _TRACK_ENTRY]
        file.seek(size, 1)
    return []


def _cropping_of(entry: bytes) -> Cropping:
    for name, video in _elements(entry):
        if name == _VIDEO:
            sides = {_SIDES[side]: int.from_bytes(value, "big") for side, value in _elements(video) if side in _SIDES}
            return Cropping(**sides) if any(sides.values()) else NOTHING_CROPPED
    return NOTHING_CROPPED


def _elements(content: bytes) -> list[tuple[int, bytes]]:
    """Name and content of each element of one level; those before the damage, where it is damaged."""
    file = io.BytesIO(content)
    found: list[tuple[int, bytes]] = []
    for _ in range(_MAX_ELEMENTS):
        name = _read_id(file)
        size = None if name is None else read_vint(file)
        if name is None or size is None:
            break
        found.append((name, file.read(size)))
    return found


def _read_id(file: BinaryIO) -> int | None:
    """The name of an element, which is of one to four bytes; None at the end, or where there is none."""
    first = file.read(1)
    if not first or first[0] < 0x10:
        return None
    return int.from_bytes(first + file.read(8 - first[0].bit_length()), "big")
