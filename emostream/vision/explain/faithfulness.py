"""Does a map show what the model uses? Deletion and insertion (Petsiuk et al. 2018).

Deletion wipes pixels out (to the crop's mean level), the map's strongest first: the sooner the probability falls, the
truer the map. Insertion makes a blurred crop sharp in the same order: the sooner the probability rises, the truer. Both
are summed up as the area under the curve. The measure of comparison is a map of chance that is as smooth as a real one;
single random pixels would be no fair opponent, as noise all over a face confuses every model.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.vision.explain.explanation import MapCheck, SaliencyMap
from emostream.vision.explain.rise import Classify, Crops, random_masks

NUM_STEPS = 16
_BLUR_SIGMA_OF_SIDE = 0.16  # 10 pixels of 64: a face is there, its expression is not
_NUM_RANDOM_MAPS = 4


def blurred(crop: Crops) -> Crops:
    """The crop without its expression: uint8, S×S."""
    sigma = _BLUR_SIGMA_OF_SIDE * crop.shape[0]
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)


def deletion_steps(crop: Crops, saliency: SaliencyMap, *, num_steps: int = NUM_STEPS) -> Crops:
    """The crop with more and more pixels wiped out: uint8, (num_steps + 1)×S×S, from the whole crop to a flat one."""
    return _steps(crop, np.full_like(crop, round(float(crop.mean()))), saliency, num_steps=num_steps)


def insertion_steps(crop: Crops, saliency: SaliencyMap, *, num_steps: int = NUM_STEPS) -> Crops:
    """The blurred crop with more and more sharp pixels: uint8, (num_steps + 1)×S×S, from blurred to whole."""
    return _steps(blurred(crop), crop, saliency, num_steps=num_steps)


def _steps(start: Crops, end: Crops, saliency: SaliencyMap, *, num_steps: int) -> Crops:
    rank = np.empty(saliency.size, dtype=np.int64)
    rank[np.argsort(-saliency.ravel(), kind="stable")] = np.arange(saliency.size)
    num_changed = np.linspace(0, saliency.size, num_steps + 1).round()
    is_changed = rank.reshape(1, *saliency.shape) < num_changed[:, None, None]
    return np.where(is_changed, end, start)


def area_under(curve: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The mean height of curves …×steps over their whole length, by trapezoids."""
    values = np.asarray(curve, dtype=np.float64)
    return np.asarray((values[..., :-1] + values[..., 1:]).mean(axis=-1) / 2)


def random_maps(side: int, *, num_maps: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Maps of chance, as smooth as those of RISE: float32 n×side×side."""
    # The sum of a few masks has many levels, so hardly two pixels are equal.
    masks = random_masks(side, num_masks=num_maps * 8, seed=seed)
    return np.asarray(masks.reshape(num_maps, 8, side, side).sum(axis=1), dtype=np.float32)


def check_map(
    classify: Classify, crop: Crops, saliency: SaliencyMap, *, column: int, num_random_maps: int = _NUM_RANDOM_MAPS
) -> MapCheck:
    """Deletion and insertion of one map, beside maps of chance.

    Args:
        classify: the model.
        crop: uint8, S×S.
        saliency: its map for the label in `column` of the model's answers.
        column: which label.
        num_random_maps: how many maps of chance are averaged; the same ones for every crop.
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
