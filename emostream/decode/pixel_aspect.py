"""Pixels that are not square: which shape sources say that they have, and pictures stretched to how they are shown.

Recorders and broadcasters store fewer columns or lines than are shown: 16:9 in 352×576, 1440×1080, 720×576. Faces are
found, followed and classified in the shape in which people see them.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from emostream.domain.frame import Frame, Luma
from emostream.domain.stream import MAX_PIXEL_ASPECT, MIN_PIXEL_ASPECT

# Encoders say 404:405 and the like where sides were rounded; nothing is gained from stretching by so little.
_SQUARE_WITHIN = 0.02
# What recorders store without saying so: half of the columns (960×1080 is called 1080N, 1280×1440 4M-N) or of the
# lines. These are ordinary sizes of other videos as well (films of 2.44:1 in 704×288), so that people decide.
_SUSPICIOUS_SIZES = {
    **dict.fromkeys([(960, 1080), (1280, 1440), (1296, 1944), (1920, 2160), (352, 576), (352, 480)], "2"),
    **dict.fromkeys([(704, 288), (720, 288), (704, 240), (720, 240)], "1:2"),
}


def believed_aspect(declared: Fraction | None) -> float:
    """Width of a pixel over its height by what a source declares; 1 where that says nothing, or cannot be.

    >>> believed_aspect(Fraction(64, 45)), believed_aspect(Fraction(404, 405)), believed_aspect(Fraction(1, 90))
    (1.422222, 1.0, 1.0)
    """
    if declared is None or not MIN_PIXEL_ASPECT <= declared <= MAX_PIXEL_ASPECT or abs(declared - 1) < _SQUARE_WITHIN:
        return 1.0
    return round(float(declared), 6)


def told_of_aspect(declared: Fraction | None, *, width: int, height: int) -> str:
    """A sentence where the shape of the pixels is doubtful; empty otherwise.

    >>> told_of_aspect(None, width=704, height=288)
    'some recorders store 704×288 with pixels that are not square: if people look stretched, set pixel_aspect to 1:2'
    """
    if declared is not None and not MIN_PIXEL_ASPECT <= declared <= MAX_PIXEL_ASPECT:
        return f"it declares pixels of {declared.numerator}:{declared.denominator}, which are taken as square"
    likely = _SUSPICIOUS_SIZES.get((width, height))
    if likely is None or believed_aspect(declared) != 1:
        return ""
    return (
        f"some recorders store {width}×{height} with pixels that are not square: if people look stretched, set "
        f"pixel_aspect to {likely}"
    )


def display_size(width: int, height: int, *, aspect: float, max_pixels: int) -> tuple[int, int]:
    """Width and height of a picture when its pixels are made square.

    The shorter sides of its pixels grow, so that no detail is lost; where that gives too many pixels, the longer ones
    shrink.

    Args:
        width, height: in stored pixels, upright.
        aspect: width of a pixel over its height.
        max_pixels: largest number of pixels of the result, unless the stored picture has more.

    >>> display_size(1440, 1080, aspect=4 / 3, max_pixels=10**7), display_size(704, 288, aspect=0.5, max_pixels=10**7)
    ((1920, 1080), (704, 576))
    """
    across, down = (aspect, 1.0) if aspect > 1 else (1.0, 1 / aspect)
    if width * across * height * down > max_pixels:
        across, down = across / max(aspect, 1 / aspect), down / max(aspect, 1 / aspect)
    return max(round(width * across), 1), max(round(height * down), 1)


def in_square_pixels(frame: Frame, *, aspect: float, max_pixels: int) -> Frame:
    """A frame as it is shown, made of one in stored pixels; of square ones, the frame itself.

    Args:
        frame: as it is stored, upright.
        aspect: width of a pixel over its height.
        max_pixels: as for `display_size`.
    """
    if aspect == 1:
        return frame
    stored = frame.luma.shape[1], frame.luma.shape[0]
    size = display_size(*stored, aspect=aspect, max_pixels=max_pixels)
    return replace(
        frame,
        luma=resized(frame.luma, size),
        load_rgb=lambda: resized(frame.rgb(), size),
        pixel_aspect=aspect,
        stored_size=stored,
    )


def resized(pixels: Luma, size: tuple[int, int]) -> Luma:
    """A picture (uint8, H×W or H×W×3) in another width and height, as a new array."""
    is_smaller = size[0] < pixels.shape[1] or size[1] < pixels.shape[0]
    interpolation = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), dtype=np.uint8)
