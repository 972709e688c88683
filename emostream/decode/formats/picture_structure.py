"""The headers of a picture file: its size, whether it is animated, and whether its end is missing.

FFmpeg decodes a JPEG that was cut to a picture whose rest is green, without a word, and says of a picture beyond
`max_pixels` only that it found none. The headers of JPEG (ITU-T T.81), PNG (W3C) and WebP (RFC 9649) tell both. A GIF
(89a), QOI or Sun raster that was cut is decoded just as quietly, and so is a HEIC (by libheif); their blocks and boxes
(ISO/IEC 14496-12) tell.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
# SOF0…SOF15 hold the size; C4, C8 and CC among them are other segments.
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WEBP_FRAME_HEADER_BYTES = 16
_WEBP_DATA_HEAD_BYTES = 10
_WEBP_HAS_ALPHA = 0x10
# Of a picture; files of a sequence (`msf1`, `hevc`, `avis`) may hold one as well.
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
    | {b"mif1", b"mif2", b"msf1", b"miaf", b"avif", b"avis"}
)
_GIF_SIGNATURES = (b"GIF87a", b"GIF89a")
_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C
_QOI_SIGNATURE = b"qoif"
_QOI_END = bytes(7) + b"\1"
_SUN_SIGNATURE = b"\x59\xa6\x6a\x95"
_SUN_HEADER_BYTES = 32
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PICTURE_CODECS = frozenset(
    {"mjpeg", "png", "apng", "bmp", "gif", "webp", "tiff", "heif", "avif", "jpeg2000", "jpegls", "jpegxl", "ppm", "pgm"}
)
"""FFmpeg's and Pillow's names of what usually is a still picture."""
SIGNATURE_BYTES = 64
"""Number of leading bytes that show whether `read_picture_structure` knows a file."""


@dataclass(frozen=True, slots=True)
class PictureStructure:
    """What the headers of a picture say.

    Attributes:
        size: width and height in pixels as stored; None where they do not say.
        is_animated: whether other pictures follow the first.
        is_cut: whether the end of the file is missing.
    """

    size: tuple[int, int] | None = None
    is_animated: bool = False
    is_cut: bool = False


def is_known_picture(start: bytes) -> bool:
    """Whether a file that starts so is a JPEG, PNG, WebP, GIF, QOI, Sun raster, TIFF, HEIC or AVIF.

    >>> is_known_picture(b"\\xff\\xd8\\xff\\xe0"), is_known_picture(b"BM")
    (True, False)
    """
    signatures = (_PNG_SIGNATURE, _JPEG_SIGNATURE, *_GIF_SIGNATURES, _QOI_SIGNATURE, _SUN_SIGNATURE)
    return start.startswith(signatures) or _is_webp(start) or is_heif(start) or is_tiff(start)


def is_heif(start: bytes) -> bool:
    """Whether a file that starts so is a HEIC or AVIF."""
    brands = start[8 : min(int.from_bytes(start[:4], "big"), SIGNATURE_BYTES)]
    named = {brands[at : at + 4] for at in range(0, len(brands), 4) if at != 4}  # the second is a version number
    return start[4:8] == b"ftyp" and not named.isdisjoint(_HEIF_BRANDS)


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts so is a TIFF."""
    return start.startswith(_TIFF_SIGNATURES)


def read_picture_structure(content: bytes) -> PictureStructure:
    """What a JPEG, PNG, WebP, GIF, QOI, Sun raster, HEIC or AVIF file says of itself; nothing about other formats."""
    for signatures, read in _READERS:
        if content.startswith(signatures):
            return read(content)
    if _is_webp(content):
        return _webp_structure(content)
    if is_heif(content):
        return PictureStructure(is_cut=_is_cut_heif(content))
    return PictureStructure()


def first_of_animation(content: bytes) -> bytes:
    """An animated WebP → its first picture as a file of its own, which FFmpeg can decode; others as they are."""
    if not _is_webp(content):
        return content
    for kind, start, size in _webp_chunks(content):
        if kind == b"ANMF":
            return _still_from_frame(content[start : start + size])
    return content


def _png_structure(content: bytes) -> PictureStructure:
    size, is_animated, offset = None, False, len(_PNG_SIGNATURE)
    while offset + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        kind = content[offset + 4 : offset + 8]
        if kind == b"IHDR" and offset + 16 <= len(content):
            size = struct.unpack_from(">II", content, offset + 8)
        elif kind == b"acTL" and offset + 12 <= len(content):
            is_animated = struct.unpack_from(">I", content, offset + 8)[0] > 1
        elif kind == b"IEND":
            return PictureStructure(size, is_animated)
        offset += 12 + length
    return PictureStructure(size, is_animated, is_cut=True)


def _jpeg_structure(content: bytes) -> PictureStructure:
    size, offset = None, 2
    while offset + 4 <= len(content):
        if content[offset] != 0xFF:
            return PictureStructure(size)  # not as the standard says: leave it to the decoder
        marker = content[offset + 1]
        if marker == 0xFF:  # padding
            offset += 1
            continue
        if marker in _JPEG_SIZES and offset + 9 <= len(content):
            height, width = struct.unpack_from(">HH", content, offset + 5)
            size = (width, height)
        if marker == _JPEG_SCAN:
            # An EXIF block before may hold a small picture with an end of its own; coded data holds none.
            return PictureStructure(size, is_cut=content.find(_JPEG_END, offset) < 0)
        offset += 2 + struct.unpack_from(">H", content, offset + 2)[0]
    return PictureStructure(size, is_cut=True)


def _gif_structure(content: bytes) -> PictureStructure:
    """Only the first picture must be complete: it is the one that is read."""
    num_images, offset = 0, 13 + (_gif_palette_bytes(content[10]) if len(content) > 10 else 0)
    while num_images < 2 and offset < len(content):
        kind = content[offset]
        if kind == _GIF_EXTENSION:
            blocks = offset + 2
        elif kind == _GIF_IMAGE and offset + 10 <= len(content):
            num_images += 1
            blocks = offset + 10 + _gif_palette_bytes(content[offset + 9]) + 1
        else:  # the trailer, or not as the standard says: leave it to the decoder
            break
        end = _gif_blocks_end(content, blocks)
        if end is None:
            return PictureStructure(is_animated=num_images > 1, is_cut=num_images < 2)
        offset = end
    return PictureStructure(is_animated=num_images > 1, is_cut=num_images == 0 and offset >= len(content))


def _gif_palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks_end(content: bytes, offset: int) -> int | None:
    """Where a row of blocks ends, after the empty one that closes it; None where that is missing."""
    while offset < len(content):
        size = content[offset]
        offset += 1 + size
        if size == 0:
            return offset
    return None


def _qoi_structure(content: bytes) -> PictureStructure:
    return PictureStructure(is_cut=_QOI_END not in content)


def _sun_raster_structure(content: bytes) -> PictureStructure:
    if len(content) < _SUN_HEADER_BYTES:
        return PictureStructure(is_cut=True)
    _, _, _, num_bytes, _, _, palette_bytes = struct.unpack_from(">7I", content, 4)  # old files: 0 bytes, not known
    return PictureStructure(is_cut=len(content) < _SUN_HEADER_BYTES + num_bytes + palette_bytes)


def _is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def _is_cut_heif(content: bytes) -> bool:
    offset = 0
    while offset + 16 <= len(content):
        size = int.from_bytes(content[offset : offset + 4], "big")
        if size == 1:
            size = int.from_bytes(content[offset + 8 : offset + 16], "big")
        if size < 8:  # 0: to the end of the file, whatever its size
            return False
        offset += size
    return offset > len(content)


def _webp_structure(content: bytes) -> PictureStructure:
    size, is_animated = None, False
    for kind, start, _ in _webp_chunks(content):
        if kind == b"VP8X" and start + 10 <= len(content):
            width, height = (int.from_bytes(content[start + at : start + at + 3], "little") for at in (4, 7))
            size = (width + 1, height + 1)
        size = size or _size_of_webp_data(kind, content[start : start + _WEBP_DATA_HEAD_BYTES])
        is_animated = is_animated or kind == b"ANMF"
    (declared,) = struct.unpack_from("<I", content, 4)
    return PictureStructure(size, is_animated, is_cut=len(content) < declared + 8)


def _size_of_webp_data(kind: bytes, head: bytes) -> tuple[int, int] | None:
    """The size by the coded picture itself, of files without VP8X: VP8 (RFC 6386, 9.1) or VP8L (RFC 9649, 3.4)."""
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) == _WEBP_DATA_HEAD_BYTES:
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        (bits,) = struct.unpack_from("<I", head, 1)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    return None


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and size of the payload of each chunk."""
    offset = 12
    while offset + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, offset + 4)
        yield content[offset : offset + 4], offset + 8, size
        offset += 8 + size + size % 2


def _still_from_frame(frame: bytes) -> bytes:
    """The payload of an ANMF chunk → a WebP file: a header that names its size, then the frame's own chunks."""
    size, chunks = frame[6:12], frame[_WEBP_FRAME_HEADER_BYTES:]
    flags = bytes([0 if chunks[:4] in (b"VP8 ", b"VP8L") else _WEBP_HAS_ALPHA, 0, 0, 0])
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + flags + size + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


_READERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes], PictureStructure]], ...] = (
    (_PNG_SIGNATURE, _png_structure),
    (_JPEG_SIGNATURE, _jpeg_structure),
    (_GIF_SIGNATURES, _gif_structure),
    (_QOI_SIGNATURE, _qoi_structure),
    (_SUN_SIGNATURE, _sun_raster_structure),
)
