"""Deletion and insertion over many pictures, and the randomisation test, on models whose reasons are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from emostream.vision.explain.faithfulness import random_maps
from tests.training.explain.test_cam import CLASSES, CROPS
from tests.training.trained_nets import TINY, tiny_net
from tests.vision.explain.patch_classifier import PATCH, SIDE, classify_patch, crop_with_bright_patch
from training.explain.cam import grad_cam
from training.explain.map_quality import CHANCE, classifier_of, mean_rank_correlation, measure_maps, randomisation_test
from training.nets.build import build_model

NUM = 6


def test_a_true_map_is_better_than_chance_and_its_opposite_is_not() -> None:
    crops = np.stack([crop_with_bright_patch()] * NUM)
    true = np.zeros((NUM, SIDE, SIDE), dtype=np.float32)
    true[(slice(None), *PATCH)] = 1
    candidates = {"true": true, "wrong": -true, CHANCE: random_maps(SIDE, num_maps=NUM)}
    classes = np.ones(NUM, dtype=np.int64)
    quality = {
        entry.method: entry for entry in measure_maps(classify_patch, crops, classes, candidates, progress=False)
    }
    assert list(quality) == ["true", "wrong", CHANCE]
    assert quality["true"].better_than_chance == 1
    assert quality["wrong"].better_than_chance == 0
    assert quality["true"].deletion < quality[CHANCE].deletion < quality["wrong"].deletion
    assert quality["true"].insertion > quality[CHANCE].insertion > quality["wrong"].insertion
    first = float(classify_patch(crops)[0, 1])
    for entry in quality.values():
        assert entry.deletion_curve[0] == entry.insertion_curve[-1] == pytest.approx(first)


def test_rank_correlation_equals_scipys() -> None:
    random = np.random.default_rng(0)
    first, second = random.random((3, 8, 8)).astype(np.float32), random.random((3, 8, 8)).astype(np.float32)
    second[1] = first[1] ** 3
    second[2, :4] = 0
    expected = np.mean([spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)])
    assert mean_rank_correlation(first, second) == pytest.approx(expected)
    assert mean_rank_correlation(first, np.ones_like(first)) == 0


def test_randomisation_starts_at_the_heads_and_ends_with_a_net_that_knows_nothing() -> None:
    torch.manual_seed(1)
    net, fresh = tiny_net(), build_model(TINY).eval()
    parts = randomisation_test(net, fresh, lambda some: grad_cam(some, CROPS, CLASSES, head="ferplus"))
    assert [part.part for part in parts] == ["heads", "stage 2", "stage 1", "stage 0"]
    assert all(-1 <= part.rank_correlation <= 1 for part in parts)
    assert abs(parts[-1].rank_correlation) < 0.7
    for name, value in net.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name


def test_a_net_as_a_classifier() -> None:
    net = tiny_net()
    probabilities = classifier_of(net, head="fer2013")(CROPS)
    assert probabilities.shape == (70, 7)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    with torch.no_grad():
        expected = torch.softmax(net(torch.from_numpy(CROPS))[1], dim=1).numpy()
    assert probabilities == pytest.approx(expected, abs=1e-5)
