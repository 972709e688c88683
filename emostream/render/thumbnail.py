"""Makes a small JPEG of a face."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import FaceEmotion
from emostream.render.preview import blur_boxes, whole_picture

_SIDE_PIXELS = 128
_MARGIN = 0.35  # of the box, on each side, to include hair and chin
_JPEG_QUALITY = 82


def face_jpeg(rgb: npt.NDArray[np.uint8], face: FaceEmotion, *, is_blurred: bool) -> bytes:
    """A JPEG of a face with its surroundings; square, except at the border of the picture.

    Args:
        rgb: uint8, H×W×3, RGB; not modified.
        face: the face to show, in pixels of `rgb`.
        is_blurred: blur the whole thumbnail, because another, undetected face may be beside this one.
    """
    x0, y0, x1, y1 = face.face.box_xyxy
    reach = (0.5 + _MARGIN) * max(x1 - x0, y1 - y0)
    left, right = _span((x0 + x1) / 2, reach, limit=rgb.shape[1])
    top, bottom = _span((y0 + y1) / 2, reach, limit=rgb.shape[0])
    part = rgb[top:bottom, left:right]
    if is_blurred:
        part = blur_boxes(part, [whole_picture(part)])
    scale = _SIDE_PIXELS / max(part.shape[:2])
    size = (max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def _span(centre: float, reach: float, *, limit: int) -> tuple[int, int]:
    """A pixel span around the centre, at least one pixel, inside the picture."""
    start = min(max(round(centre - reach), 0), limit - 1)
    return start, max(min(round(centre + reach), limit), start + 1)
