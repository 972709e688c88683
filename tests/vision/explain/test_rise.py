"""Maps point at what a classifier with known reasons looks at."""

from __future__ import annotations

import numpy as np
import pytest

from emostream.vision.explain.rise import random_masks, saliency_maps
from tests.vision.explain.patch_classifier import PATCH, SIDE, classify_patch, crop_with_bright_patch


def test_masks_are_half_open_smooth_and_the_same_for_the_same_seed() -> None:
    masks = random_masks(SIDE, num_masks=300)
    assert masks.shape == (300, SIDE, SIDE)
    assert masks.dtype == np.float32
    assert masks.min() == 0
    assert masks.max() == 1
    assert masks.mean(axis=0) == pytest.approx(0.5, abs=0.15)
    assert np.abs(np.diff(masks, axis=2)).max() < 0.2
    assert (masks == random_masks(SIDE, num_masks=300)).all()
    assert (masks != random_masks(SIDE, num_masks=300, seed=1)).any()


@pytest.mark.parametrize("side", [8, 48, 65])
def test_masks_of_any_side(side: int) -> None:
    assert random_masks(side, num_masks=3).shape == (3, side, side)


def test_the_map_is_strong_where_the_classifier_looks_and_only_there() -> None:
    dark, bright = saliency_maps(classify_patch, crop_with_bright_patch(), random_masks(SIDE))
    inside = np.zeros((SIDE, SIDE), dtype=np.bool_)
    inside[PATCH] = True
    assert inside[np.unravel_index(bright.argmax(), bright.shape)]
    assert bright[inside].mean() > 5 * abs(bright[~inside].mean())
    # The bright patch that the classifier does not look at means nothing to it.
    assert abs(bright[8:20, 8:20].mean()) < 0.2 * bright[inside].mean()
    # What speaks for one of two labels speaks against the other.
    assert dark == pytest.approx(-bright, abs=1e-5)


@pytest.mark.heavy
def test_the_unit_is_the_change_of_probability() -> None:
    """The whole patch shown or covered changes the answer by (230 − mean) / 255; a pixel stands for its cell."""
    crop = crop_with_bright_patch()
    _, bright = saliency_maps(classify_patch, crop, random_masks(SIDE, num_masks=4000))
    assert 0.5 * (230 - crop.mean()) / 255 < bright.max() < 1.1 * (230 - crop.mean()) / 255


def test_a_classifier_that_looks_at_nothing_has_an_empty_map() -> None:
    maps = saliency_maps(
        lambda crops: np.full((len(crops), 2), 0.5, np.float32), crop_with_bright_patch(), random_masks(SIDE)
    )
    assert maps == pytest.approx(0, abs=1e-6)


def test_a_flat_crop_has_an_empty_map() -> None:
    crop = np.full((SIDE, SIDE), 77, dtype=np.uint8)
    assert saliency_maps(classify_patch, crop, random_masks(SIDE)) == pytest.approx(0, abs=1e-6)
