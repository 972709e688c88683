"""Shrinks gray pictures: by halving, the fastest way without aliasing; views of turned ones are not turned first."""

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
        pixels = resized(blocks, (width, height), interpolation=cv2.INTER_AREA)
    return pixels


def resized(pixels: Luma, size: tuple[int, int], *, interpolation: int) -> Luma:
    """A picture in another width and height: a new array, which lies in memory as the picture does.

    OpenCV copies a view whose rows lie in memory as columns (a phone's upright video) before it resizes it, which takes
    longer than all else that is done with the picture. So the stored rows are resized, and the result is turned.

    Args:
        pixels: uint8, H×W.
        size: new width and height.
        interpolation: OpenCV's constant.
    """
    down, across = pixels.strides
    if (across == 1 and down > 0) or down == 0 or across == 0:
        return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), dtype=np.uint8)
    flips = (slice(None, None, 1 if down > 0 else -1), slice(None, None, 1 if across > 0 else -1))
    stored = pixels[flips]
    if abs(across) > abs(down):
        turned = np.asarray(cv2.resize(stored.T, size[::-1], interpolation=interpolation), dtype=np.uint8).T
    else:
        turned = np.asarray(cv2.resize(stored, size, interpolation=interpolation), dtype=np.uint8)
    return turned[flips]
