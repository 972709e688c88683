"""Halves gray pictures by exact averaging: the fastest way to shrink without aliasing."""

from __future__ import annotations

import cv2
import numpy as np

from emostream.domain.frame import Luma


def halved(pixels: Luma, *, times: int = 1) -> Luma:
    """Halve a picture `times` times; each pixel is the mean of a 2×2 block.

    An odd last row or column is dropped; a side of one pixel stays one. Whole blocks use OpenCV's vectorised path,
    which is tens of times faster than shrinking by any other ratio.
    """
    for _ in range(times):
        height, width = (max(side // 2, 1) for side in pixels.shape)
        blocks = pixels[: 2 * height, : 2 * width]
        pixels = np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return pixels
