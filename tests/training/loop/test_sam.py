"""Sharpness-aware minimisation on functions whose gradients are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from training.loop.sam import unchanged_batch_statistics, worst_neighbour


def test_the_neighbour_lies_up_the_gradient_and_the_way_back_is_exact() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    other = nn.Parameter(torch.tensor([0.1]))
    (0.5 * (weight**2).sum() + 0.0 * other.sum()).backward()  # type: ignore[no-untyped-call]
    with worst_neighbour([weight, other], radius=0.5):
        torch.testing.assert_close(weight.detach(), torch.tensor([3.3, 4.4]))
        assert weight.grad is None
        (0.5 * (weight**2).sum()).backward()  # type: ignore[no-untyped-call]
    assert weight.tolist() == [3.0, 4.0]
    assert other.item() == pytest.approx(0.1)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.tensor([3.3, 4.4]))


def test_only_the_direction_of_the_gradient_counts() -> None:
    places = []
    for scale in (1.0, 65536.0):
        weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        (scale * (weight**3).sum()).backward()  # type: ignore[no-untyped-call]
        with worst_neighbour([weight], radius=0.1):
            places.append(weight.detach().clone())
    torch.testing.assert_close(places[0], places[1])


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_gradient_that_is_no_number_moves_nothing(bad: float) -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    weight.grad = torch.tensor([bad, 1.0])
    with worst_neighbour([weight], radius=0.1):
        assert weight.tolist() == [1.0, 2.0]


def test_a_zero_gradient_moves_nothing() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    weight.grad = torch.zeros(1)
    with worst_neighbour([weight], radius=0.1):
        assert weight.tolist() == [1.0]


def test_a_failure_at_the_neighbour_leads_back_too() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    weight.grad = torch.ones(1)
    with pytest.raises(KeyboardInterrupt), worst_neighbour([weight], radius=0.1):
        raise KeyboardInterrupt
    assert weight.item() == 1.0


def test_running_statistics_rest_but_the_batch_is_still_normalised() -> None:
    norm = nn.BatchNorm1d(3)
    norm(torch.randn(8, 3) + 5)
    before = norm.running_mean.clone() if norm.running_mean is not None else None
    with unchanged_batch_statistics(norm):
        out = norm(torch.randn(8, 3) * 9 - 40)
    assert before is not None
    assert norm.running_mean is not None
    assert torch.equal(norm.running_mean, before)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    assert norm.momentum == 0.1
