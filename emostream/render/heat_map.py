"""Draws a saliency map over its gray picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
Rgb = npt.NDArray[np.uint8]

# Viridis: perceptually uniform and readable with every common kind of colour blindness. Low values are transparent.
_COLOURS = cv2.COLORMAP_VIRIDIS
_MAX_SHARE = 0.72
_SMALLEST = 1e-12  # a map without positive values stays invisible


def draw_heat_map(gray: Gray, values: npt.NDArray[np.floating], *, size: int) -> Rgb:
    """Draw a map over its picture, more opaque where its values are higher.

    Args:
        gray: uint8, S×S.
        values: S×S; only positive values are drawn, relative to the largest one.
        size: side of the result in pixels.

    Returns:
        uint8, size×size×3, RGB.
    """
    picture = cv2.resize(gray, (size, size), interpolation=cv2.INTER_CUBIC)
    positive = np.maximum(cv2.resize(values.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR), 0)
    strength = np.asarray(positive / max(float(positive.max()), _SMALLEST), dtype=np.float32)
    return _blend(np.repeat(picture[:, :, None], 3, axis=2), strength)


def draw_scale(*, width: int, height: int, level: int = 128) -> Rgb:
    """The legend of a heat map, from zero to the largest value, over gray: uint8, height×width×3, RGB."""
    strength = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    return _blend(np.full((height, width, 3), level, dtype=np.uint8), strength)


def _blend(picture: Rgb, strength: npt.NDArray[np.float32]) -> Rgb:
    levels = np.rint(255 * strength).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, _COLOURS), cv2.COLOR_BGR2RGB).astype(np.float32)
    share = _MAX_SHARE * np.sqrt(strength)[:, :, None]
    return np.rint(picture + share * (colours - picture)).astype(np.uint8)
