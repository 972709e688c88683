"""Class balance: the published formulas, and what they do to the loss."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.config import BalanceConfig
from training.data.labels import one_hot
from training.loop.loss import Targets, balanced, effective_number_weights, logit_offsets, soft_cross_entropy


def made_targets() -> Targets:
    """Six pictures: five of class 0 and one of class 1; the votes of the last say half of each; one has no votes."""
    labels = torch.tensor([0, 0, 0, 0, 0, 1])
    votes = one_hot(labels, 7)
    votes[5] = torch.tensor([0.5, 0.5, 0, 0, 0, 0, 0])
    return Targets(votes, torch.tensor([1.0, 1, 1, 1, 0, 1]), one_hot(labels, 7), torch.ones(6))


def test_weights_follow_the_paper() -> None:
    weights = effective_number_weights(torch.tensor([100.0, 10.0], dtype=torch.float64), beta=0.99)
    expected = (1 - 0.99**100) / (1 - 0.99**10)
    assert float(weights[1] / weights[0]) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=7).filter(any), st.floats(0, 0.99999))
def test_the_mean_weight_of_a_picture_is_one_and_rare_classes_weigh_more(counts: list[int], beta: float) -> None:
    numbers = torch.tensor(counts, dtype=torch.float64)
    weights = effective_number_weights(numbers, beta=beta)
    assert float((weights * numbers).sum() / numbers.sum()) == pytest.approx(1.0)
    order = sorted((count, float(weight)) for count, weight in zip(counts, weights, strict=True) if count > 0)
    for (_, rarer), (_, commoner) in itertools.pairwise(order):
        assert rarer >= commoner * (1 - 1e-9)


def test_beta_goes_from_equal_pictures_to_equal_classes() -> None:
    counts = torch.tensor([900.0, 100.0], dtype=torch.float64)
    assert effective_number_weights(counts, beta=0.0).tolist() == [1.0, 1.0]
    near_one = effective_number_weights(counts, beta=1 - 1e-9)
    assert float(near_one[1] / near_one[0]) == pytest.approx(9.0, rel=1e-4)


def test_rare_pictures_weigh_more_and_unknown_ones_still_nothing() -> None:
    targets = balanced(made_targets(), BalanceConfig(method="effective_number", beta=0.9))
    assert targets.fer2013_weight[5] > 1 > targets.fer2013_weight[0] > 0
    assert targets.ferplus_weight[4] == 0
    # The picture that people disagree on weighs between those of its two classes.
    assert targets.ferplus_weight[0] < targets.ferplus_weight[5]
    assert torch.equal(targets.ferplus, made_targets().ferplus)


@pytest.mark.parametrize("method", ["none", "logit_adjustment"])
def test_other_methods_leave_the_targets_alone(method: str) -> None:
    targets = made_targets()
    assert balanced(targets, BalanceConfig(method=method)) is targets  # type: ignore[arg-type]


def test_adjusted_logits_without_preference_are_where_the_loss_is_lowest() -> None:
    targets = made_targets()
    offsets = logit_offsets(targets, BalanceConfig(method="logit_adjustment"))
    assert offsets is not None
    logits = torch.zeros(2, requires_grad=True)
    adjusted = (logits + offsets[1][:2]).expand(6, 2)
    soft_cross_entropy(adjusted, targets.fer2013[:, :2], targets.fer2013_weight).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros(2), atol=1e-6, rtol=0)


def test_no_offsets_by_default_and_none_without_labels() -> None:
    assert logit_offsets(made_targets(), BalanceConfig()) is None
    unknown = made_targets().each(torch.zeros_like)
    offsets = logit_offsets(unknown, BalanceConfig(method="logit_adjustment"))
    assert offsets is not None
    assert offsets[0].tolist() == [0.0] * 7
