"""Whether a saliency map shows what the model uses: deletion and insertion (Petsiuk et al. 2018).

Deletion replaces pixels by the crop's mean level, in descending order of the map: the faster the probability falls, the
better the map. Insertion sharpens a blurred crop in the same order: the faster the probability rises, the better. Both
are areas under the curve. They are compared with random maps that are as smooth as real ones; noise of single pixels
would be too easy to beat, since noise all over a face confuses every model.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.vision.explain.explanation import MapCheck, SaliencyMap
from emostream.vision.explain.rise import Classify, Crops, random_masks

NUM_STEPS = 16
_BLUR_SIGMA_OF_SIDE = 0.16  # 10 pixels of 64: a face can still be seen, its expression cannot
_NUM_RANDOM_MAPS = 4


def blurred(crop: Crops) -> Crops:
    """The crop blurred until its expression is gone: uint8, S×S."""
    sigma = _BLUR_SIGMA_OF_SIDE * crop.shape[0]
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)


def deletion_steps(crop: Crops, saliency: SaliencyMap, *, num_steps: int = NUM_STEPS) -> Crops:
    """The crop with more and more pixels replaced: uint8, (num_steps + 1)×S×S, from the whole crop to a flat one."""
    return _steps(crop, np.full_like(crop, round(float(crop.mean()))), saliency, num_steps=num_steps)


def insertion_steps(crop: Crops, saliency: SaliencyMap, *, num_steps: int = NUM_STEPS) -> Crops:
    """The blurred crop with more and more sharp pixels: uint8, (num_steps + 1)×S×S, from blurred to sharp."""
    return _steps(blurred(crop), crop, saliency, num_steps=num_steps)


def _steps(start: Crops, end: Crops, saliency: SaliencyMap, *, num_steps: int) -> Crops:
    rank = np.empty(saliency.size, dtype=np.int64)
    rank[np.argsort(-saliency.ravel(), kind="stable")] = np.arange(saliency.size)
    num_changed = np.linspace(0, saliency.size, num_steps + 1).round()
    is_changed = rank.reshape(1, *saliency.shape) < num_changed[:, None, None]
    return np.where(is_changed, end, start)


def area_under(curve: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Area under curves of shape …×steps on a unit interval, by the trapezoidal rule."""
    values = np.asarray(curve, dtype=np.float64)
    return np.asarray((values[..., :-1] + values[..., 1:]).mean(axis=-1) / 2)


def random_maps(side: int, *, num_maps: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random maps as smooth as those of RISE: float32, n×side×side."""
    # The sum of a few masks has many levels, so hardly any two pixels are equal.
    masks = random_masks(side, num_masks=num_maps * 8, seed=seed)
    return np.asarray(masks.reshape(num_maps, 8, side, side).sum(axis=1), dtype=np.float32)


def check_map(
    classify: Classify, crop: Crops, saliency: SaliencyMap, *, column: int, num_random_maps: int = _NUM_RANDOM_MAPS
) -> MapCheck:
    """Deletion and insertion of a map and of random maps.

    Args:
        classify: the model.
        crop: uint8, S×S.
        saliency: the crop's map for the label in `column` of the model's results.
        column: index of the label.
        num_random_maps: random maps to average; the same ones for every crop.
    """
    maps = [saliency, *random_maps(crop.shape[0], num_maps=num_random_maps, seed=1)]
    deletion = np.concatenate([deletion_steps(crop, candidate) for candidate in maps])
    insertion = np.concatenate([insertion_steps(crop, candidate) for candidate in maps])
    curves = classify(np.concatenate([deletion, insertion]))[:, column].reshape(2, len(maps), NUM_STEPS + 1)
    areas = area_under(curves)
    return MapCheck(
        deletion=float(areas[0, 0]),
        insertion=float(areas[1, 0]),
        random_deletion=float(areas[0, 1:].mean()),
        random_insertion=float(areas[1, 1:].mean()),
    )
