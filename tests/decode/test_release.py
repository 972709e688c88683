"""Frames that arrive in bursts are given out at their own pace."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.release import KEPT_BEHIND_SECONDS, MAX_WAIT_SECONDS, ReleaseClock

FPS = 25


def released(segment_times: list[float], *, segment_seconds: float) -> list[float]:
    """When the frames come out, if each segment can be read from its time on."""
    clock, now, times = ReleaseClock(), 0.0, []
    per_segment = round(segment_seconds * FPS)
    for index in range(len(segment_times) * per_segment):
        now = max(now, segment_times[index // per_segment])
        now += clock.wait_seconds(index / FPS, now_seconds=now)
        times.append(now)
    return times


@pytest.mark.parametrize("segment_seconds", [1.0, 2.0, 6.0])
@pytest.mark.parametrize("num_at_first", [1, 3])
def test_segments_come_out_evenly(segment_seconds: float, num_at_first: int) -> None:
    begins = [max(0.0, segment_seconds * (index - num_at_first + 1)) for index in range(20)]
    times = released(begins, segment_seconds=segment_seconds)
    assert [later - one for one, later in pairwise(times)] == pytest.approx([1 / FPS] * (len(times) - 1), abs=1e-6)


def test_a_late_segment_leaves_a_buffer_for_the_next() -> None:
    begins = [0.0, 2.0, 4.8, 6.0, 8.8, 10.0, 12.8]
    times = released(begins, segment_seconds=2.0)
    steps = [later - one for one, later in pairwise(times)]
    assert sum(step > 0.05 for step in steps) == 1
    assert times[-1] == pytest.approx(0.8 + 14 - 1 / FPS)


def test_a_long_silence_is_made_up_for() -> None:
    begins = [80.0 if 10 <= index < 40 else 2.0 * index for index in range(600)]
    times = released(begins, segment_seconds=2.0)
    delays = [at - index / FPS for index, at in enumerate(times)]
    assert max(delays) == pytest.approx(60)
    assert delays[-1] == pytest.approx(KEPT_BEHIND_SECONDS)
    assert min(later - one for one, later in pairwise(times)) == pytest.approx(0.9 / FPS)


def test_a_pause_of_the_source_is_not_made_up_for() -> None:
    """Its segments came later, and none is waiting: it goes on as before."""
    begins = [2.0 * index + 60 * (index >= 10) for index in range(100)]
    times = released(begins, segment_seconds=2.0)
    late = [later - one for one, later in pairwise(times[: -2 * FPS]) if later - one > 1.5 / FPS]
    assert len(late) == 2  # the pause, and the discovery that nothing is left to catch up with
    assert times[-1] == pytest.approx(begins[-1] + 2, abs=0.3)


@given(
    steps=st.lists(st.tuples(st.floats(0.001, 20), st.floats(0, 30)), min_size=1, max_size=100),
)
def test_it_never_waits_for_long(steps: list[tuple[float, float]]) -> None:
    clock, pts, now = ReleaseClock(), 0.0, 0.0
    for step, silence in steps:
        pts += step
        now += silence
        wait = clock.wait_seconds(pts, now_seconds=now)
        assert 0 <= wait <= min(MAX_WAIT_SECONDS, pts + 1e-9)
        now += wait
