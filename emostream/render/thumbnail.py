"""A small JPEG of one face of a picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import FaceEmotion
from emostream.render.preview import blur_boxes, whole_picture

_SIDE_PIXELS = 128
_MARGIN = 0.35  # of the box, on each side: hair and chin belong to a face
_JPEG_QUALITY = 82


def face_jpeg(rgb: npt.NDArray[np.uint8], face: FaceEmotion, *, is_blurred: bool) -> bytes:
    """A JPEG of one face with what is around it; square, but at the border of the picture.

    Args:
        rgb: uint8, H×W×3, RGB; not written into.
        face: the one to show.
        is_blurred: make all of it a few cells: beside the face there may be another one that was not found.
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
    """Pixels around the centre, at least one, inside the picture."""
    start = min(max(round(centre - reach), 0), limit - 1)
    return start, max(min(round(centre + reach), limit), start + 1)
