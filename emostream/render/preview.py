"""Pure: a picture and its event → a small JPEG for people who look at a stream."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from emostream.event import EmotionEvent, FaceEmotion
from emostream.render.overlay import draw_event

Rgb = npt.NDArray[np.uint8]

_MAX_SIDE = 640
_JPEG_QUALITY = 75
_NUM_CELLS = 6  # across a face; eyes and mouth run into each other
_BLUR_MARGIN = 0.25  # of the box, on each side: hair and chin tell who it is as well


def preview_jpeg(
    rgb: Rgb, event: EmotionEvent, *, has_boxes: bool, is_blurred: bool, max_side: int = _MAX_SIDE
) -> bytes:
    """A JPEG no longer than `max_side` pixels on either side.

    Args:
        rgb: uint8, H×W×3, RGB; not written into.
        event: of this frame.
        has_boxes: draw boxes, track ids and emotions.
        is_blurred: make the faces of the event unrecognisable. A face that was not found cannot be blurred.
        max_side: pixels.
    """
    picture, event = _fitted(rgb, event, max_side=max_side)
    if is_blurred:
        picture = blur_faces(picture, event)
    if has_boxes:
        picture = draw_event(picture, event)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def blur_faces(rgb: Rgb, event: EmotionEvent) -> Rgb:
    """A copy in which each face of the event, and a margin around it, is a few cells of one colour."""
    picture = np.ascontiguousarray(rgb).copy()
    height, width = picture.shape[:2]
    for face in event.faces:
        x0, y0, x1, y1 = face.face.box_xyxy
        across, down = _BLUR_MARGIN * (x1 - x0), _BLUR_MARGIN * (y1 - y0)
        left, right = max(0, int(x0 - across)), min(width, int(x1 + across) + 1)
        top, bottom = max(0, int(y0 - down)), min(height, int(y1 + down) + 1)
        if left < right and top < bottom:
            part = picture[top:bottom, left:right]
            cells = cv2.resize(part, (_NUM_CELLS, _NUM_CELLS), interpolation=cv2.INTER_AREA)
            part[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return picture


def _fitted(rgb: Rgb, event: EmotionEvent, *, max_side: int) -> tuple[Rgb, EmotionEvent]:
    """Picture and event, both smaller where the picture is too large."""
    height, width = rgb.shape[:2]
    scale = max_side / max(width, height)
    if scale >= 1:
        return rgb, event
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, replace(event, faces=tuple(_scaled(face, scale) for face in event.faces))


def _scaled(found: FaceEmotion, scale: float) -> FaceEmotion:
    x0, y0, x1, y1 = found.face.box_xyxy
    box_xyxy = (x0 * scale, y0 * scale, x1 * scale, y1 * scale)
    landmarks = tuple((x * scale, y * scale) for x, y in found.face.landmarks)
    return replace(found, face=replace(found.face, box_xyxy=box_xyxy, landmarks=landmarks))
