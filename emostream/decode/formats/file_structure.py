"""The length that a video file declares in its boxes, or tells by its clock.

FFmpeg reads a file that was cut as if it ended there. Its containers declare how many bytes they hold, though, so a cut
is certain when the file is shorter than that; no guess from durations is needed, which would misfire on variable frame
rate, edit lists or a longer sound track.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from emostream.decode.formats.system_clock import ClockLength, read_clock

_START_BYTES = 2048  # ten packets of a transport stream
_MP4_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"pnot"})
_PICTURE_BRANDS = frozenset({b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix"})  # these have no moov
_MAX_BOXES = 1_000_000  # a fragmented recording of days; ends the walk through a hostile file
MATROSKA_HEADER_ID = b"\x1aE\xdf\xa3"
MATROSKA_SEGMENT_ID = b"\x18S\x80g"


@dataclass(frozen=True, slots=True)
class FileStructure:
    """What the boxes of a file say.

    Attributes:
        num_missing_bytes: bytes the file should have after its end; 0 when it is complete, or does not say.
        is_index_missing: an mp4 or mov file without its index (moov), which cannot be decoded.
        clock: of a transport or program stream; None of other files.
        is_put_together: whether another recording with a header of its own follows the first one (mp4, Matroska).
        is_rest_unread: whether FFmpeg reads the first one only: mp4 and mov without fragments.
    """

    num_missing_bytes: int = 0
    is_index_missing: bool = False
    clock: ClockLength | None = None
    is_put_together: bool = False
    is_rest_unread: bool = False


def read_file_structure(file: BinaryIO) -> FileStructure:
    """Read mp4/mov, Matroska/WebM, AVI, MPEG streams; says nothing about other formats. Reads little of large ones."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_START_BYTES)
    if start[4:8] == b"ftyp" and start[8:12] in _PICTURE_BRANDS:
        return FileStructure()
    if start[4:8] in _MP4_FIRST_BOXES:
        return _mp4_structure(file, size=size)
    if start.startswith(MATROSKA_HEADER_ID):
        return _matroska_structure(file, size=size)
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return FileStructure(_missing_in_riff(file, size=size))
    return FileStructure(clock=read_clock(file, size=size, start=start))


def _mp4_structure(file: BinaryIO, *, size: int) -> FileStructure:
    offset = num_headers = num_fragments = 0
    for _ in range(_MAX_BOXES):
        if offset + 8 > size:
            break
        file.seek(offset)
        header = file.read(16)
        num_fragments += header[4:8] == b"moof"
        num_headers += header[4:8] == b"moov"
        box_size = int.from_bytes(header[:4], "big")
        if box_size == 0:  # reaches to the end of the file, whatever its size
            offset = size
            break
        if box_size == 1:
            box_size = int.from_bytes(header[8:16], "big")
        if box_size < 8:
            return FileStructure()
        offset += box_size
    else:
        return FileStructure()
    return FileStructure(
        max(0, offset - size),
        is_index_missing=not num_headers and not num_fragments,
        is_put_together=num_headers > 1,
        is_rest_unread=num_headers > 1 and not num_fragments,
    )


def _matroska_structure(file: BinaryIO, *, size: int) -> FileStructure:
    file.seek(len(MATROSKA_HEADER_ID))
    header_size = read_vint(file)
    if header_size is None:
        return FileStructure()
    file.seek(header_size, os.SEEK_CUR)
    if file.read(4) != MATROSKA_SEGMENT_ID:
        return FileStructure()
    segment_size = read_vint(file)
    if segment_size is None:
        return FileStructure()
    end = file.tell() + segment_size
    file.seek(min(end, size))
    return FileStructure(max(0, end - size), is_put_together=file.read(4) == MATROSKA_HEADER_ID)


def read_vint(file: BinaryIO) -> int | None:
    """Matroska's integer of variable length; None when unknown (a recording that was not finished) or cut."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    num_more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & ((1 << (7 - num_more)) - 1)]) + file.read(num_more), "big")
    is_unknown = value == (1 << 7 * (num_more + 1)) - 1
    return None if is_unknown else value


def _missing_in_riff(file: BinaryIO, *, size: int) -> int:
    offset = 0
    for _ in range(_MAX_BOXES):  # files of more than 1 GB have several
        file.seek(offset)
        header = file.read(8)
        chunk_size = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF" or chunk_size in (0, 0xFFFFFFFF):
            return 0
        offset += 8 + chunk_size + chunk_size % 2
        if offset >= size:
            return max(0, offset - chunk_size % 2 - size)
    return 0
