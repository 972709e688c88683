"""Learning rate and averaging: shape of the curves at their ends and in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.loop.schedule import ema_decay_at, learning_rate_at, training_progress


def rate(progress: float) -> float:
    return learning_rate_at(progress, peak=0.1, warmup_fraction=0.2, final_ratio=0.01)


def test_rises_to_the_peak_and_falls_to_the_final_rate() -> None:
    assert rate(0.0) == pytest.approx(0.005)
    assert rate(0.2) == pytest.approx(0.1)
    assert rate(0.6) == pytest.approx(0.1 * (0.01 + 0.99 * 0.5))
    assert rate(1.0) == pytest.approx(0.001)


@given(st.floats(0, 1), st.floats(0, 1))
def test_is_monotone_before_and_after_the_peak(one: float, other: float) -> None:
    low, high = sorted((one, other))
    if high <= 0.2:
        assert rate(low) <= rate(high)
    if low >= 0.2:
        assert rate(low) >= rate(high)


@given(st.floats(-10, 10))
def test_stays_between_zero_and_the_peak(progress: float) -> None:
    assert 0 < rate(progress) <= 0.1


def test_progress_is_the_greater_of_steps_and_time() -> None:
    assert training_progress(step=10, total_steps=100, elapsed_seconds=999, time_budget_seconds=None) == 0.1
    assert training_progress(step=10, total_steps=100, elapsed_seconds=30, time_budget_seconds=60) == 0.5
    assert training_progress(step=90, total_steps=100, elapsed_seconds=30, time_budget_seconds=60) == 0.9
    assert training_progress(step=0, total_steps=100, elapsed_seconds=99, time_budget_seconds=60) == 1.0


def test_the_average_has_a_short_memory_at_first() -> None:
    assert ema_decay_at(0, decay=0.999) == pytest.approx(0.1)
    assert ema_decay_at(1_000_000, decay=0.999) == 0.999
