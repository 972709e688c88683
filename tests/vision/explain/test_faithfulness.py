"""Deletion and insertion: ends of the sequences, areas by hand, true maps beat chance and wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest

from emostream.vision.explain.faithfulness import (
    NUM_STEPS,
    area_under,
    blurred,
    check_map,
    deletion_steps,
    insertion_steps,
    random_maps,
)
from tests.vision.explain.patch_classifier import PATCH, SIDE, classify_patch, crop_with_bright_patch

BRIGHT = 1


def true_map() -> np.ndarray:
    saliency = np.zeros((SIDE, SIDE), dtype=np.float32)
    saliency[PATCH] = 1
    return saliency


def test_sequences_go_from_one_picture_to_the_other() -> None:
    crop, saliency = crop_with_bright_patch(), true_map()
    deleted, inserted = deletion_steps(crop, saliency), insertion_steps(crop, saliency)
    assert deleted.shape == inserted.shape == (NUM_STEPS + 1, SIDE, SIDE)
    assert (deleted[0] == crop).all()
    assert (deleted[-1] == round(crop.mean())).all()
    assert (inserted[0] == blurred(crop)).all()
    assert (inserted[-1] == crop).all()


def test_the_strongest_pixels_go_first() -> None:
    crop = crop_with_bright_patch()
    (second, *_) = deletion_steps(crop, true_map())[1:]
    share = 1 / NUM_STEPS
    changed = second != crop
    assert changed.mean() == pytest.approx(share, abs=0.01)
    assert changed[PATCH].all()


def test_areas_by_hand() -> None:
    assert area_under(np.array([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert area_under(np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])) == pytest.approx([1.0, 0.25])


def test_a_true_map_passes_and_its_opposite_fails() -> None:
    crop, saliency = crop_with_bright_patch(), true_map()
    good = check_map(classify_patch, crop, saliency, column=BRIGHT)
    assert good.is_passed
    assert good.deletion < good.random_deletion - 0.1
    assert good.insertion > good.random_insertion + 0.05
    bad = check_map(classify_patch, crop, -saliency, column=BRIGHT)
    assert not bad.is_passed
    assert (bad.random_deletion, bad.random_insertion) == (good.random_deletion, good.random_insertion)


def test_a_map_of_chance_scores_like_chance() -> None:
    crop = crop_with_bright_patch()
    checks = [check_map(classify_patch, crop, saliency, column=BRIGHT) for saliency in random_maps(SIDE, num_maps=40)]
    assert np.mean([check.deletion for check in checks]) == pytest.approx(checks[0].random_deletion, abs=0.12)
    assert np.mean([check.insertion for check in checks]) == pytest.approx(checks[0].random_insertion, abs=0.12)


def test_blurring_takes_detail_and_keeps_brightness() -> None:
    crop = crop_with_bright_patch()
    assert blurred(crop).std() < crop.std() / 2
    assert blurred(crop).mean() == pytest.approx(crop.mean(), rel=0.2)
