"""The loss against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from training.data.labels import one_hot
from training.loop.loss import Targets, smoothed, soft_cross_entropy, two_head_loss


def test_equals_cross_entropy_of_hard_labels() -> None:
    logits, labels = torch.randn(5, 7), torch.tensor([0, 1, 2, 3, 6])
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert soft_cross_entropy(logits, one_hot(labels, 7), torch.ones(5)) == pytest.approx(float(expected), abs=1e-6)


def test_smoothing_equals_torch() -> None:
    logits, labels = torch.randn(5, 7), torch.tensor([0, 1, 2, 3, 6])
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    target = smoothed(one_hot(labels, 7), 0.1)
    assert soft_cross_entropy(logits, target, torch.ones(5)) == pytest.approx(float(expected), abs=1e-6)


def test_pictures_without_weight_do_not_count() -> None:
    logits = torch.tensor([[0.0, 0.0], [50.0, -50.0]])
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert soft_cross_entropy(logits, target, torch.tensor([1.0, 0.0])) == pytest.approx(math.log(2))
    assert soft_cross_entropy(logits, target, torch.zeros(2)) == 0


def test_an_unknown_label_is_a_row_of_zeros() -> None:
    assert one_hot(torch.tensor([-1, 1]), 3).tolist() == [[0, 0, 0], [0, 1, 0]]


def test_mixing_keeps_distributions_and_drops_what_is_missing() -> None:
    targets = Targets(
        one_hot(torch.tensor([0, 1]), 7), torch.tensor([1.0, 0.0]), one_hot(torch.tensor([2, 3]), 7), torch.ones(2)
    )
    mixed = targets.mixed(targets.take(torch.tensor([1, 0])), torch.tensor([0.75, 1.0]))
    assert mixed.ferplus.sum(dim=1).tolist() == [1, 1]
    assert mixed.fer2013[0, 2:4].tolist() == [0.75, 0.25]
    assert mixed.ferplus_weight.tolist() == [0, 0]


def test_total_is_the_weighted_sum() -> None:
    targets = Targets(torch.eye(7), torch.ones(7), torch.eye(7), torch.ones(7))
    total, ferplus, fer2013 = two_head_loss(
        torch.randn(7, 7), torch.randn(7, 7), targets, ferplus_weight=2.0, fer2013_weight=0.5, label_smoothing=0.1
    )
    assert float(total) == pytest.approx(2 * float(ferplus) + 0.5 * float(fer2013), rel=1e-5)
