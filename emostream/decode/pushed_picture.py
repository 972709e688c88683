"""A JPEG or WebP in memory, as a frame of a stream that is sent to the service."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.decode.formats.picture_structure import read_picture_structure
from emostream.decode.pixels import Pixels
from emostream.errors import DecodeError, SourceRejectedError

_JPEG, _RIFF, _WEBP = b"\xff\xd8\xff", b"RIFF", b"WEBP"


def check_pushed_picture(content: bytes, *, max_pixels: int) -> None:
    """Check what the headers say.

    Raises:
        SourceRejectedError: it is neither JPEG nor WebP, does not say how large it is, is animated, or has too many
            pixels.
        DecodeError: its end is missing.
    """
    if not content.startswith(_JPEG) and not (content.startswith(_RIFF) and content[8:12] == _WEBP):
        raise SourceRejectedError("expected a picture as JPEG or WebP")
    structure = read_picture_structure(content)
    if structure.size is None or min(structure.size) < 1 or structure.is_animated:
        raise SourceRejectedError("expected a picture as JPEG or WebP, whose header says its size, not an animation")
    width, height = structure.size
    if width * height > max_pixels:
        raise SourceRejectedError(f"the picture has {width}×{height} pixels, at most {max_pixels} are accepted")
    if structure.is_cut:
        raise DecodeError("the end of the picture is missing")


def decode_pushed_picture(content: bytes, *, max_pixels: int) -> Pixels:
    """Decode it, upright as its EXIF says. Takes some milliseconds; colour is decoded where it is asked for.

    Raises:
        SourceRejectedError, DecodeError: as `check_pushed_picture`, or it is damaged.
    """
    check_pushed_picture(content, max_pixels=max_pixels)
    return Pixels(_decoded(content, cv2.IMREAD_GRAYSCALE), True, lambda: _colours(content))


def _colours(content: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(_decoded(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _decoded(content: bytes, how: int) -> npt.NDArray[np.uint8]:
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except cv2.error as exc:
        raise DecodeError("the picture is damaged") from exc
    if picture is None:
        raise DecodeError("the picture is damaged")
    return np.asarray(picture, dtype=np.uint8)
