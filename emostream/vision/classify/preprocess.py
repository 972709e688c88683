"""Converts pictures of faces to the uint8 batch that a model takes. Training, evaluation and serving all use it.

Normalisation is part of the model's graph, so only framing and layout remain.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

CROP_SIZE_PIXELS = 64
"""Side of a crop. FER2013 pictures have 48 pixels; 64 keeps detail of better sources and can be halved four times."""


def crop_from_picture(picture: npt.NDArray[np.uint8], *, size: int = CROP_SIZE_PIXELS) -> npt.NDArray[np.uint8]:
    """Resize a gray picture framed like FER2013 (uint8, H×W) to a crop (uint8, size×size).

    Enlarges bilinearly and shrinks by area averaging. Returns the picture itself when it has the right size.

    Raises:
        ValueError: the picture is not a two-dimensional uint8 array.
    """
    if picture.ndim != 2 or picture.dtype != np.uint8:
        raise ValueError(f"expected a gray uint8 picture H×W, got {picture.dtype} {picture.shape}")
    if picture.shape == (size, size):
        return picture
    shrinking = picture.shape[0] > size or picture.shape[1] > size
    interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=interpolation), dtype=np.uint8)


def batch_from_pictures(
    pictures: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8], *, size: int = CROP_SIZE_PIXELS
) -> npt.NDArray[np.uint8]:
    """Gray pictures framed like FER2013 → uint8 batch, n×size×size, C order, host memory."""
    if len(pictures) == 0:
        return np.empty((0, size, size), dtype=np.uint8)
    return np.stack([crop_from_picture(picture, size=size) for picture in pictures])
