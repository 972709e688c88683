"""Presentation stamps and arrival times → strictly growing `pts_seconds`.

A stamp is what a camera or a demuxer claims. Two time lines judge it, picture by picture:

`FileTimeline` has nothing but the stamps and the declared rate:

- time 0 is where the container starts, so a video that begins after its sound begins later than 0;
- a stamp after its predecessor, by at most `max_gap_seconds`: taken as it is. Long pauses in a file are real, but not
  in MPEG transport and program streams, whose clock must not stand still (`container_info.max_gap_seconds`);
- a missing stamp (None, not a number): one interval after its predecessor. The interval is the last good distance
  between two pictures, before there is one 1/`declared_fps`. Stamps that stand still are treated as missing;
- a step back at a key frame or by more than a second, a step ahead by more than `max_gap_seconds`, or one at a key
  frame to behind the declared end: the source began a new time line (concatenated recordings, a restart, a wrap of the
  counter). The picture comes one interval after its predecessor, later stamps are read relative to that, and
  `num_discontinuities` grows;
- a smaller step back: pictures out of order, which come a quarter of an interval after their predecessor until the
  stamps are ahead again. If they grow from the lower value for three pictures, that is a new time line as well.

`LiveTimeline` also knows when each picture arrived. Real time passes at the source as it passes here, so its time stays
within a band around the arrival: the stamps smooth the jitter of the network inside it. The band is narrow at first and
grows with the time that passed, so the pace is right from the first second on. Stamps that run more than 20 % faster or
slower than the pictures arrive, and push against the band for longer than a second, are given up: from then on time is
taken by arrival. This is how an audio-video player slaves its clock to an external one (the sync threshold and no-sync
threshold of FFmpeg's ffplay), with arrival as the master clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_DEFAULT_INTERVAL_SECONDS = 1 / 25  # a container that declares no usable rate
_MIN_INTERVAL_SECONDS = 0.001  # time must move on in floating point, too
_MAX_INTERVAL_SECONDS = 1.0  # longer distances are pauses, not a rate to go on with
_MAX_STEP_BACK_SECONDS = 1.0  # re-ordering is a few pictures; more than this is another time line
_NUM_TO_CONFIRM = 3  # pictures in order from a lower stamp on: no re-ordering
_NUM_STANDING_STILL = 4  # pictures with one stamp; fields and repeated pictures have two or three
_MAX_LATE_START_SECONDS = 3600.0  # more is a wrong start of the container
_MIN_JUMP_SECONDS = 1.0  # of a new time line that begins ahead

MAX_DRIFT_RATIO = 0.2
"""Stamps that deviate from the pace of arrival by more are not believed."""

_MIN_SLACK_SECONDS = 0.15  # the jitter of a network
_SLACK_RATIO = 0.1  # of the time since the first picture
_MAX_SLACK_SECONDS = 2.0
_MAX_HEAD_SECONDS = 2.0
_WINDOW_SECONDS = 1.0
_MIN_WINDOW_PICTURES = 5
_NUM_WITHOUT_STAMPS = 5  # pictures from the start on

SEGMENT_SLACK_SECONDS = 30.0
"""How far stamps and arrival may be apart where whole segments arrive at once: three of the usual ten seconds."""


class FileTimeline:
    """Time by stamps alone; the policy is the module's docstring.

    Args:
        declared_fps: pictures per second; None when unknown.
        max_gap_seconds: a longer step ahead is a new time line.
        start_seconds: the stamp of time 0; None takes that of the first picture.
        end_seconds: the declared duration; None when unknown.

    >>> line = FileTimeline(declared_fps=10, max_gap_seconds=60)
    >>> [round(line.advance(stamp), 2) for stamp in (5.0, 5.1, None, 5.3, 0.0, 0.1)]
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    >>> line.num_discontinuities
    1
    """

    def __init__(
        self,
        *,
        declared_fps: float | None,
        max_gap_seconds: float,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> None:
        self.num_discontinuities = 0
        self._interval = 1 / declared_fps if declared_fps and declared_fps > 0 else _DEFAULT_INTERVAL_SECONDS
        self._max_gap_seconds = max_gap_seconds
        self._start_seconds = start_seconds
        self._end_seconds = end_seconds
        self._origin: float | None = None  # the stamp of our time 0
        self._last: float | None = None
        self._last_stamp = -math.inf
        self._last_good: float | None = None  # the last time taken from a stamp, unless one was missing since
        self._is_after_key = False
        self._num_still = 1
        self._num_back = 0  # pictures in order since a small step back
        self._back_origin = 0.0  # of the time line that they may be the beginning of

    @property
    def next_seconds(self) -> float:
        """Where the next picture is expected: one interval after the last one; 0 before the first."""
        return 0.0 if self._last is None else self._last + self._interval

    def advance(self, stamp_seconds: float | None, *, is_key: bool = False, elapsed_seconds: float = 0.0) -> float:
        """The `pts_seconds` of the next picture, greater than all before it.

        Args:
            stamp_seconds: as the source says; None when it says nothing.
            is_key: whether it is a key frame.
            elapsed_seconds: time since the last picture by another clock, at least; a new time line begins after it.
        """
        if stamp_seconds is None or not math.isfinite(stamp_seconds):
            self._last_good = None
            self._last = self.next_seconds
            return self._last
        is_telling_key, self._is_after_key = is_key and not self._is_after_key, is_key
        self._num_still = self._num_still + 1 if stamp_seconds == self._last_stamp else 1
        self._last = self._time_of(stamp_seconds, is_key=is_telling_key, elapsed_seconds=elapsed_seconds)
        self._last_stamp = stamp_seconds
        return self._last

    def move_to(self, pts_seconds: float) -> None:
        """Let the last picture be at this time, and the following ones keep their distance to it."""
        if self._last is not None and self._origin is not None:
            self._origin -= pts_seconds - self._last
            self._back_origin -= pts_seconds - self._last
            self._last_good = None if self._last_good is None else pts_seconds
        self._last = pts_seconds

    def _time_of(self, stamp: float, *, is_key: bool, elapsed_seconds: float) -> float:
        if self._origin is None or self._last is None:
            return self._begin(stamp)
        pts_seconds = stamp - self._origin
        distance = pts_seconds - self._last
        if distance < -_MAX_STEP_BACK_SECONDS or distance > self._max_gap_seconds:
            return self._begin_again(stamp, elapsed_seconds)
        if distance > 0:
            if is_key and self._is_behind_the_end(pts_seconds, distance):
                return self._begin_again(stamp, elapsed_seconds)
            if self._last_good is not None and pts_seconds - self._last_good <= _MAX_INTERVAL_SECONDS:
                self._interval = max(_MIN_INTERVAL_SECONDS, pts_seconds - self._last_good)
            self._last_good = pts_seconds
            self._num_back = 0
            return pts_seconds
        if is_key and stamp < self._last_stamp:
            return self._begin_again(stamp, elapsed_seconds)
        return self._behind(stamp)

    def _begin(self, stamp: float) -> float:
        pts_seconds = self.next_seconds
        if self._last is None and self._start_seconds is not None:
            late_seconds = stamp - self._start_seconds
            pts_seconds = late_seconds if 0 < late_seconds <= _MAX_LATE_START_SECONDS else 0.0
        self._origin = stamp - pts_seconds
        self._last_good = pts_seconds
        return pts_seconds

    def _begin_again(self, stamp: float, elapsed_seconds: float) -> float:
        self.num_discontinuities += 1
        pts_seconds = max(self.next_seconds, (self._last or 0.0) + elapsed_seconds)
        self._origin = stamp - pts_seconds
        self._last_good = pts_seconds
        self._num_back = 0
        return pts_seconds

    def _behind(self, stamp: float) -> float:
        """A picture whose stamp is not later than the last picture's time."""
        assert self._last is not None  # noqa: S101  # for the type checker
        if self._num_still >= _NUM_STANDING_STILL:
            self._last_good = None
            return self._last + self._interval
        if self._num_still == 1:
            if self._num_back and stamp > self._last_stamp:
                self._num_back += 1
            else:
                self._num_back, self._back_origin = 1, stamp - self.next_seconds
        if self._num_back >= _NUM_TO_CONFIRM:
            self.num_discontinuities += 1
            self._num_back, self._origin = 0, self._back_origin
            self._last_good = pts_seconds = max(stamp - self._origin, self._last + self._interval / 4)
            self._origin = stamp - pts_seconds
            return pts_seconds
        return self._last + self._interval / 4

    def _is_behind_the_end(self, pts_seconds: float, distance: float) -> bool:
        end = self._end_seconds
        return end is not None and distance > _MIN_JUMP_SECONDS and pts_seconds > end + _MIN_JUMP_SECONDS


@dataclass(slots=True)
class _Pushing:
    """Pictures whose stamps were beyond one side of the band, and the time they were waited for.

    Many of both are a pace. One picture after a long silence, or many at once after it, are a network.
    """

    num_pictures: int = 0
    waited_seconds: float = 0.0

    def add(self, waited_seconds: float) -> None:
        self.num_pictures += 1
        self.waited_seconds += waited_seconds

    def is_most_of(self, num_pictures: int, seconds: float) -> bool:
        return 2 * self.num_pictures > num_pictures and 2 * self.waited_seconds > seconds


@dataclass(slots=True)
class _Window:
    """What was seen of the stamps over about a second."""

    begin_seconds: float
    num_pictures: int = 0
    stamp_seconds: float = 0.0  # that passed by the stamps
    too_slow: _Pushing = field(default_factory=_Pushing)
    too_fast: _Pushing = field(default_factory=_Pushing)


class LiveTimeline:
    """Time by stamps within a band around the arrival; the policy is the module's docstring.

    Args:
        declared_fps: pictures per second; None when unknown.
        max_gap_seconds: a longer step of the stamps is a new time line.
        opened_seconds: when the source began to be opened, by the clock of arrival: what arrives first was sent since.
        has_stamps: False where the demuxer makes up its stamps.
        slack_seconds: the width of the band; None lets it grow up to two seconds.

    >>> line = LiveTimeline(declared_fps=25, max_gap_seconds=10, opened_seconds=0.0)
    >>> times = [line.advance(index / 50, arrived_seconds=index / 5) for index in range(100)]
    >>> round(times[-1], 1), line.is_by_arrival, round(line.stamp_rate, 1)
    (19.8, True, 0.1)
    """

    def __init__(
        self,
        *,
        declared_fps: float | None,
        max_gap_seconds: float,
        opened_seconds: float,
        has_stamps: bool = True,
        slack_seconds: float | None = None,
    ) -> None:
        self.is_by_arrival = not has_stamps
        """Whether time follows arrival alone."""
        self.stamp_rate: float | None = None
        """How many seconds pass by the stamps in one of arrival, where they were given up for that; None else."""
        self._stamps = FileTimeline(declared_fps=declared_fps, max_gap_seconds=max_gap_seconds)
        self._opened_seconds = opened_seconds
        self._slack_seconds = slack_seconds
        self._head_seconds = 0.0
        self._first_arrived: float | None = None
        self._last_arrived = 0.0
        self._last = 0.0
        self._num_without_stamps: int | None = 0  # None once there was a stamp
        self._window = _Window(0.0)

    @property
    def num_discontinuities(self) -> int:
        """How often the stamps began again."""
        return self._stamps.num_discontinuities

    @property
    def next_seconds(self) -> float:
        """Where the next picture is expected."""
        return self._stamps.next_seconds

    def advance(self, stamp_seconds: float | None, *, arrived_seconds: float, is_key: bool = False) -> float:
        """The `pts_seconds` of the next picture, greater than all before it.

        Args:
            stamp_seconds: as the source says; None when it says nothing.
            arrived_seconds: when it arrived, on a clock that only grows.
            is_key: whether it is a key frame.
        """
        if self._first_arrived is None:
            self._first_arrived = self._last_arrived = arrived_seconds
            self._window = _Window(arrived_seconds)
            opening_seconds = max(0.0, arrived_seconds - self._opened_seconds)
            self._head_seconds = self._slack_seconds or min(_MAX_HEAD_SECONDS, opening_seconds)
            self._note_stamp(stamp_seconds)
            self._stamps.advance(stamp_seconds, is_key=is_key)
            return self._last
        waited = max(0.0, arrived_seconds - self._last_arrived)
        age = max(0.0, arrived_seconds - self._first_arrived)
        self._last_arrived = max(arrived_seconds, self._last_arrived)
        self._note_stamp(stamp_seconds)
        pts_seconds = self._stamps.advance(stamp_seconds, is_key=is_key, elapsed_seconds=waited)
        if not self.is_by_arrival:
            self._judge(pts_seconds, age, waited)
        if self.is_by_arrival:
            # Time that ran ahead waits for the arrival at half the pace; time that is behind did pass.
            target = max(age, self._last + waited / 2)
        else:
            target = min(max(pts_seconds, age - self._slack(age)), age + self._head_seconds + self._slack(age))
        self._last = max(target, self._last + _MIN_INTERVAL_SECONDS)
        if self._last != pts_seconds:
            self._stamps.move_to(self._last)
        return self._last

    def _slack(self, age: float) -> float:
        if self._slack_seconds is not None:
            return self._slack_seconds
        return min(_MAX_SLACK_SECONDS, max(_MIN_SLACK_SECONDS, _SLACK_RATIO * age))

    def _note_stamp(self, stamp_seconds: float | None) -> None:
        if self._num_without_stamps is None:
            return
        if stamp_seconds is not None and math.isfinite(stamp_seconds):
            self._num_without_stamps = None
            return
        self._num_without_stamps += 1
        self.is_by_arrival = self.is_by_arrival or self._num_without_stamps >= _NUM_WITHOUT_STAMPS

    def _judge(self, pts_seconds: float, age: float, waited: float) -> None:
        """Give the stamps up where they pushed against the band over a whole window."""
        window, slack = self._window, self._slack(age)
        window.num_pictures += 1
        if pts_seconds < age - slack:
            window.too_slow.add(waited)
        elif pts_seconds > age + self._head_seconds + slack:
            window.too_fast.add(waited)
        window.stamp_seconds += pts_seconds - self._last
        seconds = self._last_arrived - window.begin_seconds
        if seconds < _WINDOW_SECONDS or window.num_pictures < _MIN_WINDOW_PICTURES:
            return
        rate = window.stamp_seconds / seconds
        is_pushing = any(side.is_most_of(window.num_pictures, seconds) for side in (window.too_slow, window.too_fast))
        if is_pushing and abs(rate - 1) > MAX_DRIFT_RATIO:
            self.is_by_arrival, self.stamp_rate = True, rate
        self._window = _Window(self._last_arrived)
