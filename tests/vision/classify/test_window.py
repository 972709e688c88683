"""The batching window follows the arrival rate within its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.classify.batcher import MAX_WINDOW_SECONDS, MIN_WINDOW_SECONDS, ArrivalWindow


def _window_at_rate(crops_per_second: float) -> float:
    window = ArrivalWindow(wanted_crops=8)
    for index in range(200):
        window.arrived(1, now_seconds=index / crops_per_second)
    return window.seconds


@pytest.mark.parametrize(
    ("crops_per_second", "expected"),
    [
        (10, MIN_WINDOW_SECONDS),
        (60, MIN_WINDOW_SECONDS),
        (100, MAX_WINDOW_SECONDS),
        (400, 0.020),
        (100_000, MIN_WINDOW_SECONDS),
    ],
    ids=["waiting-is-useless", "one-more-at-most", "longest", "as-long-as-eight-take", "shortest"],
)
def test_the_window_is_what_the_wanted_crops_take(crops_per_second: float, expected: float) -> None:
    assert _window_at_rate(crops_per_second) == pytest.approx(expected, rel=0.01)


def test_nothing_known_means_hardly_waiting() -> None:
    assert ArrivalWindow(wanted_crops=8).seconds == MIN_WINDOW_SECONDS


def test_several_crops_at_once_count_as_several_arrivals() -> None:
    together, apart = ArrivalWindow(wanted_crops=8), ArrivalWindow(wanted_crops=8)
    for index in range(100):
        together.arrived(4, now_seconds=index * 0.01)
        apart.arrived(1, now_seconds=index * 0.0025)
    assert together.seconds == pytest.approx(apart.seconds)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 64)), max_size=50), st.integers(1, 64))
def test_the_window_stays_within_its_bounds(arrivals: list[tuple[float, int]], wanted_crops: int) -> None:
    window = ArrivalWindow(wanted_crops=wanted_crops)
    for now_seconds, num_crops in arrivals:  # also when the clock goes back
        window.arrived(num_crops, now_seconds=now_seconds)
        assert MIN_WINDOW_SECONDS <= window.seconds <= MAX_WINDOW_SECONDS
