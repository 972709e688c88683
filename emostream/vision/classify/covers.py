"""Asks a small net whether the eyes, or the mouth, of a face are covered.

It sees gray crops framed for the classifier and gives two probabilities. `python -m training.covers` makes it, from
FER2013 pictures before which masks, hands, cups, scarves and sunglasses are drawn. It costs 0.02 ms per crop.
"""

from __future__ import annotations

import functools
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from emostream.vision.engines.ort_network import OrtNetwork

COVERS_SIDE = 32
"""Side of the pictures that the net takes, in pixels."""
COVERS_MODEL = Path(str(files("emostream.models").joinpath("covers.onnx")))

# Standard deviation of the gray levels. A flat crop shows neither eyes nor what covers them.
_MIN_CONTRAST = 4.0


class Covered(NamedTuple):
    """Probabilities that a part of a face is covered.

    Attributes:
        eyes: that both eyes are.
        mouth: that the mouth is.
    """

    eyes: float
    mouth: float


OPEN = Covered(0.0, 0.0)


def covered_parts(crops: npt.NDArray[np.uint8]) -> list[Covered]:
    """What is covered in crops (uint8, n×S×S, full range, framed like FER2013); smaller ones have no result.

    Raises:
        InferenceError: the net failed.
    """
    if not len(crops) or crops.shape[1] < COVERS_SIDE:  # of a model that takes such small crops
        return [OPEN] * len(crops)
    small = np.empty((len(crops), 1, COVERS_SIDE, COVERS_SIDE), np.uint8)
    is_flat = []
    for crop, out in zip(crops, small[:, 0], strict=True):
        cv2.resize(crop, (COVERS_SIDE, COVERS_SIDE), dst=out, interpolation=cv2.INTER_AREA)
        _, deviation = cv2.meanStdDev(out)
        is_flat.append(float(deviation[0, 0]) < _MIN_CONTRAST)
    (probabilities,) = _net().run(small, output_names=["covered"])
    return [
        OPEN if flat else Covered(eyes, mouth)
        for (eyes, mouth), flat in zip(probabilities.tolist(), is_flat, strict=True)
    ]


@functools.cache
def _net() -> OrtNetwork:
    return OrtNetwork(COVERS_MODEL, path=COVERS_MODEL, kind="the net that sees covered faces")
