"""Time lines: strictly growing whatever comes in, right where the stamps are, at the true pace where they are not."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emostream.decode.timeline import MAX_DRIFT_RATIO, SEGMENT_SLACK_SECONDS, FileTimeline, LiveTimeline

STAMP = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, 0.0, 0.04, 0.08])
STAMPS = st.lists(STAMP, min_size=1, max_size=100)
MAX_SLACK_SECONDS = 2.0


def of_file(
    stamps: Sequence[float | None],
    *,
    fps: float | None = 10,
    max_gap_seconds: float = 60,
    keys: Sequence[int] = (),
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> tuple[list[float], int]:
    line = FileTimeline(
        declared_fps=fps, max_gap_seconds=max_gap_seconds, start_seconds=start_seconds, end_seconds=end_seconds
    )
    times = [round(line.advance(stamp, is_key=index in keys), 6) for index, stamp in enumerate(stamps)]
    return times, line.num_discontinuities


@pytest.mark.parametrize(
    ("stamps", "expected", "num_discontinuities"),
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
        pytest.param(
            [5.0, 5.1, 5.2, 4.7, 4.8, 4.9, 5.0, 5.1],
            [0.0, 0.1, 0.2, 0.225, 0.25, 0.5, 0.6, 0.7],
            1,
            id="a clock that is set back a little",
        ),
        pytest.param(
            [0.0, 0.1, 0.1, 0.1, 0.1, 0.1], [0.0, 0.1, 0.125, 0.15, 0.25, 0.35], 0, id="a clock that stands still"
        ),
    ],
)
def test_files(stamps: list[float | None], expected: list[float], num_discontinuities: int) -> None:
    assert of_file(stamps) == (expected, num_discontinuities)


def test_recordings_one_after_the_other_go_on() -> None:
    """Short ones, each from 0: the step back is small, but at a key frame."""
    stamps = [index / 10 for index in range(8)] * 3
    assert of_file(stamps, keys=(0, 8, 16)) == ([index / 10 for index in range(24)], 2)


def test_codecs_of_key_frames_alone_may_be_out_of_order() -> None:
    assert of_file([0.0, 0.2, 0.1, 0.3, 0.4], keys=range(5)) == ([0.0, 0.2, 0.25, 0.3, 0.4], 0)


@pytest.mark.parametrize(
    ("start_seconds", "first"), [(None, 0.0), (0.0, 2.0), (2.0, 0.0), (3.0, 0.0), (-1e6, 0.0)], ids=str
)
def test_time_zero_is_where_the_container_starts(start_seconds: float | None, first: float) -> None:
    assert of_file([2.0, 2.5], start_seconds=start_seconds) == ([first, first + 0.5], 0)


def test_a_part_with_a_clock_of_its_own_does_not_lie_behind_the_end() -> None:
    stamps = [0.0, 0.1, 0.2, 50.0, 50.1]
    assert of_file(stamps, keys=(0, 3), end_seconds=0.5) == ([0.0, 0.1, 0.2, 0.3, 0.4], 1)
    assert of_file(stamps, keys=(0, 3), end_seconds=50.2) == (stamps, 0)


def test_unusable_declared_rate() -> None:
    assert of_file([None, None], fps=None)[0] == [0.0, 0.04]


@given(stamps=STAMPS, keys=st.sets(st.integers(0, 99)), max_gap_seconds=st.floats(0.5, 1e5))
def test_time_of_files_grows_strictly_from_zero(
    stamps: list[float | None], keys: set[int], max_gap_seconds: float
) -> None:
    line = FileTimeline(declared_fps=25, max_gap_seconds=max_gap_seconds)
    times = [line.advance(stamp, is_key=index in keys) for index, stamp in enumerate(stamps)]
    assert times[0] == 0.0
    assert all(before < after for before, after in itertools.pairwise(times))
    assert all(after - before <= max(max_gap_seconds, 1.0) + 1e-6 for before, after in itertools.pairwise(times))
    assert line.next_seconds > times[-1]


@given(start=st.floats(-1e5, 1e5), intervals=st.lists(st.floats(1e-3, 50.0), max_size=100))
def test_good_stamps_are_kept(start: float, intervals: list[float]) -> None:
    stamps: list[float] = list(itertools.accumulate(intervals, initial=start))
    line = FileTimeline(declared_fps=25, max_gap_seconds=60)
    for stamp in stamps:
        assert line.advance(stamp, is_key=True) == pytest.approx(stamp - start, abs=1e-6)
    assert line.num_discontinuities == 0


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=8),
    starts=st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=8),
    fps=st.sampled_from([5.0, 12.5, 25.0, 29.97, 60.0]),
)
def test_recordings_put_together_last_as_long_as_their_pictures(
    lengths: list[int], starts: list[float], fps: float
) -> None:
    """However long each is and wherever its clock begins, as long as it begins earlier than the one before ended."""
    stamps: list[float] = []
    keys: set[int] = set()
    for length, start in zip(lengths, starts, strict=False):
        begin = min(start, stamps[-1] - 0.01) if stamps else start
        assume(begin > -1e5)
        keys.add(len(stamps))
        stamps += [begin + index / fps for index in range(length)]
    times, num_discontinuities = of_file(stamps, fps=fps, keys=sorted(keys))
    assert times[-1] == pytest.approx((len(stamps) - 1) / fps, abs=1e-3)
    assert num_discontinuities == len(lengths) - 1


def test_an_hour_without_drift() -> None:
    line = FileTimeline(declared_fps=None, max_gap_seconds=60)
    assert [line.advance(7.0 + index / 30) for index in range(108_001)][-1] == pytest.approx(3600, abs=1e-6)


def live(
    declared_fps: float | None = 25, *, opened_seconds: float = 0.0, slack_seconds: float | None = None
) -> LiveTimeline:
    return LiveTimeline(
        declared_fps=declared_fps, max_gap_seconds=10, opened_seconds=opened_seconds, slack_seconds=slack_seconds
    )


FAULTS: dict[str, Callable[[float], float | None]] = {
    "none at all": lambda at: None,
    "stands still": lambda at: 7.0,
    "ten times slow": lambda at: at / 10,
    "90 times slow": lambda at: at / 90,
    "half": lambda at: at / 2,
    "twice": lambda at: at * 2,
    "ten times fast": lambda at: at * 10,
    "90 times fast": lambda at: at * 90,
    "runs backwards": lambda at: -at,
    "set back every 2 s": lambda at: at - 0.8 * (at // 2),
    "set ahead every 3 s": lambda at: at + 1.5 * (at // 3),
    "set far ahead": lambda at: at + 17_000 * (at > 2),
    "wraps": lambda at: at % 1.3,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("fps", [1, 5, 30, 60])
@pytest.mark.parametrize("seconds", [4, 60])
def test_the_true_pace_whatever_the_stamps_say(fault: str, fps: int, seconds: int) -> None:
    line = live()
    times = [
        line.advance(FAULTS[fault](index / fps), arrived_seconds=0.3 + index / fps, is_key=index % 25 == 0)
        for index in range(seconds * fps + 1)
    ]
    slack = min(MAX_SLACK_SECONDS, max(0.15, 0.1 * seconds))
    assert times[-1] == pytest.approx(seconds, abs=0.3 + slack + 0.01)
    assert times[-1] - times[len(times) // 2] == pytest.approx(seconds / 2, abs=0.3 + 2 * slack)


@pytest.mark.parametrize("fault", ["stands still", "ten times slow", "half", "twice", "90 times fast"])
def test_a_pace_that_is_not_believed_is_said(fault: str) -> None:
    line = live()
    for index in range(250):
        line.advance(FAULTS[fault](index / 25), arrived_seconds=index / 25)
    assert line.is_by_arrival
    assert line.stamp_rate is not None
    assert abs(line.stamp_rate - 1) > MAX_DRIFT_RATIO


@given(
    arrivals=st.lists(st.floats(0, 5), min_size=1, max_size=100),
    stamps=STAMPS,
    keys=st.sets(st.integers(0, 99)),
    opened_seconds=st.floats(0, 3),
)
def test_live_time_grows_and_stays_near_the_arrival(
    arrivals: list[float], stamps: list[float | None], keys: set[int], opened_seconds: float
) -> None:
    """Whatever the stamps are and however the pictures come."""
    line = live(opened_seconds=-opened_seconds)
    last, arrived = -1.0, 0.0
    for index, (waited, stamp) in enumerate(zip(arrivals, itertools.cycle(stamps), strict=False)):
        arrived += waited if index else 0.0
        pts_seconds = line.advance(stamp, arrived_seconds=arrived, is_key=index in keys)
        assert pts_seconds > last
        assert pts_seconds >= arrived - MAX_SLACK_SECONDS - 1e-9
        # Pictures that come when time is already as far as it may be take a millisecond each.
        assert pts_seconds <= arrived + MAX_SLACK_SECONDS + 2.0 + 0.001 * (index + 1)
        last = pts_seconds


@given(seed=st.integers(0, 1000), fps=st.sampled_from([5.0, 15.0, 25.0, 30.0, 60.0]), rate=st.floats(0.97, 1.03))
def test_good_stamps_smooth_the_jitter_of_the_network(seed: int, fps: float, rate: float) -> None:
    rng = random.Random(seed)
    line = live()
    arrived = 0.0
    for index in range(300):
        arrived = max(arrived, index / fps + rng.uniform(0, 0.1))
        assert line.advance(50 + index * rate / fps, arrived_seconds=arrived) == pytest.approx(index * rate / fps)
    assert not line.is_by_arrival


@pytest.mark.parametrize("stall_seconds", [1.0, 1.9, 5.0, 9.0])
def test_a_network_that_stands_still_and_makes_up_for_it_is_no_fault_of_the_stamps(stall_seconds: float) -> None:
    line = live()
    for index in range(1000):
        at = index / 25
        arrived = 15 + stall_seconds if 15 <= at < 15 + stall_seconds else at
        pts_seconds = line.advance(at, arrived_seconds=arrived)
    assert not line.is_by_arrival
    assert pts_seconds == pytest.approx(at, abs=MAX_SLACK_SECONDS + 0.001 * 25 * stall_seconds)


def test_what_was_sent_while_it_was_opened_keeps_its_distances() -> None:
    line = live(opened_seconds=0.0)
    times = [line.advance(index / 25, arrived_seconds=max(1.0, index / 25)) for index in range(50)]
    assert times == pytest.approx([index / 25 for index in range(50)])


def test_a_new_time_line_begins_after_the_time_that_passed() -> None:
    line = live()
    stamps = [*(index / 25 for index in range(25)), *(index / 25 for index in range(25))]
    times = [
        line.advance(stamp, arrived_seconds=index / 25 + 3 * (index >= 25), is_key=index % 25 == 0)
        for index, stamp in enumerate(stamps)
    ]
    assert times[25] == pytest.approx(times[24] + 3.04)
    assert line.num_discontinuities == 1


def test_a_clock_that_is_a_little_fast_is_believed_for_a_day() -> None:
    line = live()
    for index in range(86_400):
        pts_seconds = line.advance(index * 1.0002, arrived_seconds=float(index))
        assert abs(pts_seconds - index) <= MAX_SLACK_SECONDS + 0.01
    assert not line.is_by_arrival


def test_segments_may_arrive_at_once() -> None:
    line = live(slack_seconds=SEGMENT_SLACK_SECONDS)
    for index in range(2500):
        segment = index // 150
        arrived = max(0.0, 6.0 * (segment - 2)) + (index % 150) * 0.001
        assert line.advance(10 + index / 25, arrived_seconds=arrived) == pytest.approx(index / 25)
    assert not line.is_by_arrival


def test_invented_time_stamps_are_ignored() -> None:
    line = LiveTimeline(declared_fps=25, max_gap_seconds=10, opened_seconds=0.0, has_stamps=False)
    times = [line.advance(index / 25, arrived_seconds=index / 5) for index in range(60)]
    assert times == pytest.approx([index / 5 for index in range(60)])
    assert line.stamp_rate is None
