"""Reference crops and a reference frame: inputs on which variants of a model are compared when no data set is present.

The crops are made from the faces of two public-domain portraits (NASA's of Eileen Collins, the US Navy's of Grace
Hopper). Brows, eyes and mouth are moved, and light, size, rotation, blur, noise and occlusion vary. So the model's
answers vary, and some are near the boundary between two classes. The crops have no labels and measure no accuracy.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np
import numpy.typing as npt

Crops = npt.NDArray[np.uint8]
Luma = npt.NDArray[np.uint8]

NUM_REFERENCE_CROPS = 512
REFERENCE_MARGIN = 0.1
"""Crops on which the reference's two highest probabilities differ by less do not count for the agreement."""

# Two faces side by side, each framed like FER2013, with landmarks where emostream.vision.detect.align places them.
_FACES_FILE = "reference-faces.png"
_SIDE = 96

# (x, y) as shares of the side: the points that are moved, and how far they move their surroundings.
_INNER_BROWS = ((0.42, 0.30), (0.58, 0.30))
_OUTER_BROWS = ((0.24, 0.30), (0.76, 0.30))
_EYELIDS = ((0.32, 0.37), (0.68, 0.37))
_MOUTH_CORNERS = ((0.36, 0.74), (0.64, 0.74))
_UPPER_LIP, _LOWER_LIP = ((0.5, 0.70),), ((0.5, 0.82),)
_REACH = 0.09
_MAX_PULL = 0.07


@lru_cache(maxsize=2)
def reference_crops(*, size: int, num_crops: int = NUM_REFERENCE_CROPS) -> Crops:
    """The reference crops: uint8, n×size×size, read-only. Deterministic; the first n of any larger number."""
    faces = _faces()
    # One generator per crop, so that a crop depends on its index only.
    random = [np.random.default_rng((2013, index)) for index in range(num_crops)]
    crops = np.stack([_varied(faces[index % len(faces)], random[index], size=size) for index in range(num_crops)])
    crops.flags.writeable = False
    return crops


def reference_frame(*, width: int = 640, height: int = 384) -> Luma:
    """A gray frame with the two faces in several sizes: uint8, height×width; for detectors."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    texture = 90 + 40 * np.sin(columns / 37) * np.cos(rows / 23)
    frame: Luma = np.clip(texture, 0, 255).astype(np.uint8)
    left = width // 40
    for index, side in enumerate((160, 112, 80, 56, 40, 28)):
        size = side * width // 640
        top = (index % 3 + 1) * (height - size) // 4
        frame[top : top + size, left : left + size] = cv2.resize(
            _faces()[index % 2], (size, size), interpolation=cv2.INTER_AREA
        )
        left += size + width // 40
    return frame


def _faces() -> list[Crops]:
    content = files("emostream.vision.engines").joinpath(_FACES_FILE).read_bytes()
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    sheet = np.asarray(picture, dtype=np.uint8)
    return [sheet[:, start : start + _SIDE] for start in range(0, sheet.shape[1], _SIDE)]


def _varied(face: Crops, random: np.random.Generator, *, size: int) -> Crops:
    moved = _with_expression(face, random)
    angle, zoom = random.uniform(-12, 12), random.uniform(0.9, 1.15)
    shift = random.uniform(-0.05, 0.05, 2) * size
    is_mirrored, is_covered, is_coarse = random.random(3) < (0.5, 0.2, 0.2)
    gain, offset, tilt = random.uniform(0.5, 1.3), random.uniform(-40, 30), random.uniform(-50, 50)
    blur, noise_levels = random.uniform(0, 1.2), random.uniform(0, 10)
    corner, extent = random.uniform(0, 0.7, 2), random.uniform(0.15, 0.4, 2)
    noise = random.standard_normal((size, size))

    middle = _SIDE / 2
    transform = np.asarray(cv2.getRotationMatrix2D((middle, middle), angle, zoom * size / _SIDE), np.float64)
    transform[:, 2] += size / 2 - middle + shift
    pixels = cv2.warpAffine(moved, transform, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if is_mirrored:
        pixels = pixels[:, ::-1]
    if is_coarse:
        pixels = cv2.resize(cv2.resize(pixels, (20, 20), interpolation=cv2.INTER_AREA), (size, size))
    pixels = cv2.GaussianBlur(pixels, (0, 0), 0.3 + blur)
    light = pixels * gain + offset + tilt * np.linspace(-1, 1, size)[None, :] + noise_levels * noise
    if is_covered:
        (top, left), (height, width) = (corner * size).astype(int), (extent * size).astype(int)
        light[top : top + height, left : left + width] = 90
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _with_expression(face: Crops, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """The face with brows, eyelids and mouth moved up or down."""
    rows, columns = np.indices(face.shape).astype(np.float32)
    up: npt.NDArray[np.float32] = np.zeros(face.shape, np.float32)
    for points in (_INNER_BROWS, _OUTER_BROWS, _EYELIDS, _MOUTH_CORNERS, _UPPER_LIP, _LOWER_LIP):
        pull = np.float32(random.uniform(-_MAX_PULL, _MAX_PULL) * _SIDE)
        for x, y in points:
            distance = ((columns / _SIDE - x) ** 2 + (rows / _SIDE - y) ** 2) / (2 * _REACH**2)
            up = up + pull * np.exp(-distance)
    moved = cv2.remap(face, np.asarray(columns), rows + up, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)
