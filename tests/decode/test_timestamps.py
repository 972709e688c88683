"""The source's clock: strictly growing whatever comes in, and right where the input is."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.timestamps import SourceClock

RAW = st.lists(
    st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, 0.0, 0.04, 0.08]), min_size=1, max_size=100
)


def advanced(
    raws: list[float | None], *, fps: float | None = 10, max_gap_seconds: float = 60
) -> tuple[list[float], int]:
    clock = SourceClock(declared_fps=fps, max_gap_seconds=max_gap_seconds)
    return [round(clock.advance(raw), 6) for raw in raws], clock.num_discontinuities


@pytest.mark.parametrize(
    ("raws", "expected", "num_discontinuities"),
    [
        pytest.param([0.0, 0.1, 0.2], [0.0, 0.1, 0.2], 0, id="regular"),
        pytest.param([-0.5, -0.4, 0.1], [0.0, 0.1, 0.6], 0, id="negative start"),
        pytest.param([1e5, 1e5 + 1], [0.0, 1.0], 0, id="large start"),
        pytest.param([0.0, 0.03, 0.5, 40.0], [0.0, 0.03, 0.5, 40.0], 0, id="variable rate and a pause"),
        pytest.param([None, None, None], [0.0, 0.1, 0.2], 0, id="no stamps at all"),
        pytest.param([None, 7.0, 7.1], [0.0, 0.1, 0.2], 0, id="first stamp missing"),
        pytest.param([0.0, 0.2, None, 0.6], [0.0, 0.2, 0.4, 0.6], 0, id="missing: last good interval"),
        pytest.param([0.0, 0.1, None, None, 0.4], [0.0, 0.1, 0.2, 0.3, 0.4], 0, id="missing, then right again"),
        pytest.param([0.0, 0.1, 0.1, 0.2, 0.2], [0.0, 0.1, 0.125, 0.2, 0.225], 0, id="each stamp twice"),
        pytest.param([0.0, 0.2, 0.1, 0.3, 0.4], [0.0, 0.2, 0.25, 0.3, 0.4], 0, id="out of order"),
        pytest.param([5.0, 5.1, 0.0, 0.1], [0.0, 0.1, 0.2, 0.3], 1, id="restart"),
        pytest.param([0.0, 0.1, 100.0, 100.1], [0.0, 0.1, 0.2, 0.3], 1, id="absurd jump"),
    ],
)
def test_policy(raws: list[float | None], expected: list[float], num_discontinuities: int) -> None:
    assert advanced(raws) == (expected, num_discontinuities)


def test_unusable_declared_rate() -> None:
    assert advanced([None, None], fps=None)[0] == [0.0, 0.04]


@given(raws=RAW, max_gap_seconds=st.floats(0.5, 1e5))
def test_grows_strictly_from_zero(raws: list[float | None], max_gap_seconds: float) -> None:
    clock = SourceClock(declared_fps=25, max_gap_seconds=max_gap_seconds)
    times = [clock.advance(raw) for raw in raws]
    assert times[0] == 0.0
    assert all(before < after for before, after in itertools.pairwise(times))
    assert all(after - before <= max(max_gap_seconds, 1.0) + 1e-6 for before, after in itertools.pairwise(times))
    assert clock.next_seconds > times[-1]


@given(start=st.floats(-1e5, 1e5), intervals=st.lists(st.floats(1e-3, 50.0), max_size=100))
def test_good_stamps_are_kept(start: float, intervals: list[float]) -> None:
    raws: list[float | None] = list(itertools.accumulate(intervals, initial=start))
    clock = SourceClock(declared_fps=25, max_gap_seconds=60)
    for raw in raws:
        assert raw is not None
        assert clock.advance(raw) == pytest.approx(raw - start, abs=1e-6)
    assert clock.num_discontinuities == 0


def test_an_hour_without_drift() -> None:
    clock = SourceClock(declared_fps=None, max_gap_seconds=60)
    assert [clock.advance(7.0 + index / 30) for index in range(108_001)][-1] == pytest.approx(3600, abs=1e-6)
