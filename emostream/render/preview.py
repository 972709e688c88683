"""Makes small JPEG previews of a stream with its faces, and blurs faces."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import EmotionEvent
from emostream.domain.face import BoxXyxy
from emostream.render.overlay import Overlay

Rgb = npt.NDArray[np.uint8]

_MAX_SIDE = 640
_JPEG_QUALITY = 75
_NUM_CELLS = 6  # across a face; eyes and mouth can no longer be told apart
_BLUR_MARGIN = 0.25  # of the box, on each side: hair and chin identify a person as well


def preview_jpeg(
    rgb: Rgb,
    event: EmotionEvent,
    *,
    has_boxes: bool,
    overlay: Overlay | None = None,
    covered: Sequence[BoxXyxy] = (),
    max_side: int = _MAX_SIDE,
) -> bytes:
    """A preview of a frame as JPEG.

    Args:
        rgb: uint8, H×W×3, RGB; not modified.
        event: of this frame.
        has_boxes: draw boxes, track ids and emotions.
        overlay: of this stream and size, which keeps labels in place from frame to frame.
        covered: boxes to blur, in pixels of `rgb`; see `blur_boxes`.
        max_side: longest side of the result in pixels.
    """
    picture, event, scale = _fitted(rgb, event, max_side=max_side)
    if covered:
        picture = blur_boxes(picture, [_scaled_box(box, scale) for box in covered])
    if has_boxes:
        picture = (overlay or Overlay()).draw(picture, event)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def blur_boxes(rgb: Rgb, boxes: Sequence[BoxXyxy]) -> Rgb:
    """Pixelate boxes and a margin around each. Returns a new picture.

    Boxes that extend beyond the border have cells of the same size: half a face shows half as many.
    """
    picture = np.ascontiguousarray(rgb).copy()
    height, width = picture.shape[:2]
    for x0, y0, x1, y1 in boxes:
        across, down = _BLUR_MARGIN * (x1 - x0), _BLUR_MARGIN * (y1 - y0)
        left, right = max(0, int(x0 - across)), min(width, int(x1 + across) + 1)
        top, bottom = max(0, int(y0 - down)), min(height, int(y1 + down) + 1)
        if left < right and top < bottom:
            part = picture[top:bottom, left:right]
            num_cells = (
                _num_cells(right - left, full=x1 - x0 + 2 * across),
                _num_cells(bottom - top, full=y1 - y0 + 2 * down),
            )
            cells = cv2.resize(part, num_cells, interpolation=cv2.INTER_AREA)
            part[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return picture


def _num_cells(pixels: int, *, full: float) -> int:
    """Number of cells of the visible part of a box along one side."""
    return min(max(round(_NUM_CELLS * pixels / full), 1), _NUM_CELLS)


def whole_picture(picture: Rgb) -> BoxXyxy:
    """The box of the whole picture, to blur a picture in which faces were not searched."""
    height, width = picture.shape[:2]
    return (0.0, 0.0, float(width), float(height))


def _fitted(rgb: Rgb, event: EmotionEvent, *, max_side: int) -> tuple[Rgb, EmotionEvent, float]:
    """Picture and event, scaled down where the picture is too large, and the scale."""
    height, width = rgb.shape[:2]
    scale = max_side / max(width, height)
    if scale >= 1:
        return rgb, event.scaled_to(width=width, height=height), 1.0
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, event.scaled_to(width=size[0], height=size[1]), scale


def _scaled_box(box_xyxy: BoxXyxy, scale: float) -> BoxXyxy:
    x0, y0, x1, y1 = box_xyxy
    return (x0 * scale, y0 * scale, x1 * scale, y1 * scale)
