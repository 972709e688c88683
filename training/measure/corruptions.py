"""Corruptions of pictures of faces, each in five strengths.

In the manner of ImageNet-C (Hendrycks & Dietterich 2019), chosen for what a camera and a face detector do to a crop. A
corruption takes gray pictures (uint8 n×s×s, s of about 48) and gives new ones of the same shape. Random parts (sides,
signs, places, noise) are drawn per picture from a generator that is seeded alike for all strengths, so that a curve
shows the strength and not the draw.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]
Draws = np.random.Generator

FACE_SIZES_PIXELS = (48, 40, 32, 28, 24, 20, 16, 14, 12)
"""Sides to which faces are shrunk, as those of people farther and farther away."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        name: short name.
        unit: what the strengths are, in words.
        strengths: five, from weak to strong.
        corrupt: pictures, strength, draws → new pictures.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    corrupt: Callable[[Pictures, float, Draws], Pictures] = field(repr=False)

    def __call__(self, pictures: Pictures, *, strength: float, seed: int = 0) -> Pictures:
        """The corrupted pictures; the same for the same arguments."""
        draws = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return self.corrupt(pictures, float(strength), draws)


def shrink_faces(pictures: Pictures, *, size: int) -> Pictures:
    """Pictures n×s×s → n×size×size by area averaging, as a camera farther away sees them."""
    if size == pictures.shape[-1]:
        return pictures
    return _resized(pictures, size, interpolation=cv2.INTER_AREA)


def _resized(pictures: Pictures, size: int, *, interpolation: int) -> Pictures:
    result = np.empty((len(pictures), size, size), dtype=np.uint8)
    for picture, out in zip(pictures, result, strict=True):
        cv2.resize(picture, (size, size), dst=out, interpolation=interpolation)
    return result


def _levels(values: npt.NDArray[np.floating]) -> Pictures:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _signs(num: int, draws: Draws) -> npt.NDArray[np.float64]:
    return draws.choice([-1.0, 1.0], size=num)


def _warped(pictures: Pictures, matrices: npt.NDArray[np.float64]) -> Pictures:
    """Each picture through its own affine map n×2×3 about its centre; past the border the edge is repeated."""
    side = pictures.shape[-1]
    centre = np.full(2, (side - 1) / 2)
    result = np.empty_like(pictures)
    for picture, matrix, out in zip(pictures, matrices, result, strict=True):
        whole = matrix.copy()
        whole[:, 2] += centre - matrix[:, :2] @ centre
        cv2.warpAffine(picture, whole, (side, side), dst=out, borderMode=cv2.BORDER_REPLICATE)
    return result


def _similarities(scales: npt.NDArray[np.float64], radians: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a, b, zero = scales * np.cos(radians), scales * np.sin(radians), np.zeros(len(scales))
    return np.stack([np.stack([a, -b, zero], axis=1), np.stack([b, a, zero], axis=1)], axis=1)


def _rotate(pictures: Pictures, degrees: float, draws: Draws) -> Pictures:
    signs = _signs(len(pictures), draws)
    return _warped(pictures, _similarities(np.ones(len(pictures)), np.radians(degrees) * signs))


def _zoom(pictures: Pictures, ratio: float, draws: Draws) -> Pictures:
    scales = (1 + ratio) ** _signs(len(pictures), draws)
    return _warped(pictures, _similarities(scales, np.zeros(len(pictures))))


def _shift(pictures: Pictures, ratio: float, draws: Draws) -> Pictures:
    directions = draws.uniform(0, 2 * np.pi, size=len(pictures))
    matrices = _similarities(np.ones(len(pictures)), np.zeros(len(pictures)))
    matrices[:, :, 2] = ratio * pictures.shape[-1] * np.stack([np.cos(directions), np.sin(directions)], axis=1)
    return _warped(pictures, matrices)


def _light_from_side(pictures: Pictures, share: float, draws: Draws) -> Pictures:
    """Light falls off across the face, in a random direction, by `share` at the far side."""
    side = pictures.shape[-1]
    directions = draws.uniform(0, 2 * np.pi, size=len(pictures))
    place = np.linspace(-0.5, 0.5, side)
    across = np.cos(directions)[:, None, None] * place[None, None, :]
    down = np.sin(directions)[:, None, None] * place[None, :, None]
    return _levels(pictures * (1 - share * (0.5 + (across + down) / np.sqrt(2))))


def _lower_contrast(pictures: Pictures, share: float, draws: Draws) -> Pictures:
    mean = pictures.mean(axis=(1, 2), keepdims=True)
    return _levels(mean + (pictures - mean) * (1 - share))


def _darken(pictures: Pictures, gamma: float, draws: Draws) -> Pictures:
    """A gamma curve, then the noise that a sensor shows in the dark."""
    dark = 255 * (pictures.astype(np.float64) / 255) ** gamma
    return _levels(dark + draws.normal(0, gamma - 1, size=pictures.shape))


def _overexpose(pictures: Pictures, gain: float, draws: Draws) -> Pictures:
    return _levels(pictures * gain)


def _blur(pictures: Pictures, sigma: float, draws: Draws) -> Pictures:
    result = np.empty_like(pictures)
    for picture, out in zip(pictures, result, strict=True):
        cv2.GaussianBlur(picture, (0, 0), sigma, dst=out, borderType=cv2.BORDER_REPLICATE)
    return result


def _blur_by_motion(pictures: Pictures, length: float, draws: Draws) -> Pictures:
    """The mean over a line of `length` pixels in a random direction."""
    size = int(length) | 1
    line = np.zeros((size, size), dtype=np.float32)
    line[size // 2] = 1 / size
    result = np.empty_like(pictures)
    for picture, degrees, out in zip(pictures, draws.uniform(0, 180, size=len(pictures)), result, strict=True):
        turn = cv2.getRotationMatrix2D((size // 2, size // 2), degrees, 1.0)
        kernel = cv2.warpAffine(line, turn, (size, size))
        cv2.filter2D(picture, -1, kernel / kernel.sum(), dst=out, borderType=cv2.BORDER_REPLICATE)
    return result


def _add_noise(pictures: Pictures, deviation: float, draws: Draws) -> Pictures:
    return _levels(pictures + deviation * draws.standard_normal(pictures.shape, dtype=np.float32))


def _compress(pictures: Pictures, quality: float, draws: Draws) -> Pictures:
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    result = np.empty_like(pictures)
    for picture, out in zip(pictures, result, strict=True):
        out[:] = cv2.imdecode(cv2.imencode(".jpg", picture, options)[1], cv2.IMREAD_GRAYSCALE)
    return result


def _lower_resolution(pictures: Pictures, factor: float, draws: Draws) -> Pictures:
    """Shrunk and enlarged again, as in a video that was scaled up."""
    side = pictures.shape[-1]
    small = shrink_faces(pictures, size=max(round(side / factor), 1))
    return _resized(small, side, interpolation=cv2.INTER_LINEAR)


def _occlude(pictures: Pictures, share: float, draws: Draws) -> Pictures:
    """A square of one random level over `share` of the area, at a random place: a hand, a cup, a microphone."""
    side = pictures.shape[-1]
    length = round(side * np.sqrt(share))
    corners = np.floor(draws.uniform(size=(len(pictures), 2)) * (side - length + 1)).astype(int)
    levels = draws.integers(0, 256, size=len(pictures))
    result = pictures.copy()
    for picture, (top, left), level in zip(result, corners, levels, strict=True):
        picture[top : top + length, left : left + length] = level
    return result


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("rotation", "degrees, to either side", (5, 10, 15, 20, 30), _rotate),
    Corruption("scale", "larger or smaller, share", (0.05, 0.1, 0.15, 0.2, 0.3), _zoom),
    Corruption("shift", "share of the side, any direction", (0.03, 0.06, 0.1, 0.15, 0.2), _shift),
    Corruption("light from a side", "loss at the far side, share", (0.2, 0.4, 0.6, 0.75, 0.9), _light_from_side),
    Corruption("low contrast", "contrast lost, share", (0.3, 0.5, 0.7, 0.8, 0.9), _lower_contrast),
    Corruption("darkness", "gamma, with noise", (1.5, 2, 3, 4, 5), _darken),
    Corruption("overexposure", "gain", (1.2, 1.5, 2, 2.5, 3), _overexpose),
    Corruption("blur", "sigma in pixels of 48", (0.5, 1, 1.5, 2, 3), _blur),
    Corruption("motion blur", "length in pixels of 48", (3, 5, 7, 9, 13), _blur_by_motion),
    Corruption("noise", "standard deviation in levels of 255", (5, 10, 15, 25, 40), _add_noise),
    Corruption("JPEG", "quality", (80, 60, 40, 20, 10), _compress),
    Corruption("low resolution", "shrunk by and enlarged again", (1.25, 1.5, 2, 3, 4), _lower_resolution),
    Corruption("occlusion", "share of the area", (0.05, 0.1, 0.15, 0.2, 0.3), _occlude),
)
