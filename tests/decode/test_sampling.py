"""Sampling keeps order, keeps the rate, and loses nothing it need not lose."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.sampling import FrameSampler

INTERVALS = st.lists(st.floats(1e-4, 5.0), min_size=1, max_size=200)


def kept(sampler: FrameSampler, times: list[float]) -> list[int]:
    return [index for index, time in enumerate(times) if sampler.keep(time)]


def regular(fps: float, num_frames: int, *, digits: int = 9) -> list[float]:
    return [round(index / fps, digits) for index in range(num_frames)]


def test_keeps_all_by_default() -> None:
    assert FrameSampler().keeps_all
    assert kept(FrameSampler(), regular(25, 50)) == list(range(50))


def test_every_third() -> None:
    assert kept(FrameSampler(every=3), regular(25, 10)) == [0, 3, 6, 9]


@pytest.mark.parametrize("fps", [10, 15, 24, 25, 29.97, 30, 50, 59.94, 60])
def test_loses_nothing_at_the_sources_own_rate(fps: float) -> None:
    # Matroska rounds to milliseconds.
    assert len(kept(FrameSampler(target_fps=fps), regular(fps, 1000, digits=3))) == 1000


@pytest.mark.parametrize(
    ("fps", "target_fps", "step"), [(30, 15, 2), (60, 30, 2), (30, 10, 3), (25, 5, 5), (30, 3, 10)]
)
def test_whole_ratios_are_regular(fps: float, target_fps: float, step: int) -> None:
    indexes = kept(FrameSampler(target_fps=target_fps), regular(fps, 600, digits=3))
    steps = [after - before for before, after in itertools.pairwise(indexes)]
    assert set(steps[1:]) == {step}


@pytest.mark.parametrize("target_fps", [0.1, 6, 7.3, 24])
def test_does_not_drift(target_fps: float) -> None:
    num_kept = len(kept(FrameSampler(target_fps=target_fps), regular(30, 30 * 3600)))
    assert num_kept == pytest.approx(3600 * target_fps, abs=2)


@given(intervals=INTERVALS, target_fps=st.floats(0.1, 120.0), every=st.integers(1, 5))
def test_never_exceeds_the_rate_and_keeps_order(intervals: list[float], target_fps: float, every: int) -> None:
    times = list(itertools.accumulate(intervals, initial=0.0))
    indexes = kept(FrameSampler(every=every, target_fps=target_fps), times)
    assert indexes == sorted(set(indexes))
    assert indexes[:1] == [0]
    assert all(index % every == 0 for index in indexes)
    for first, last in itertools.combinations(range(len(indexes)), 2):
        seconds = times[indexes[last]] - times[indexes[first]]
        assert last - first + 1 <= seconds * target_fps + 2 + 1e-6


@pytest.mark.parametrize("arguments", [{"every": 0}, {"target_fps": 0.0}, {"target_fps": float("nan")}])
def test_rejects_nonsense(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        FrameSampler(**arguments)  # type: ignore[arg-type]
