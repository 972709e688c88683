"""Pure: raw presentation times → strictly growing `pts_seconds` from 0.

Policy, picture by picture, for a raw time in seconds:

- the first picture is at 0, whatever its raw time (negative and large starts are common);
- later than its predecessor, by at most `max_gap_seconds`: taken as it is. Long pauses in a file are real;
- missing (None, not a number): one interval after its predecessor. The interval is the last good distance between two
  pictures, before there is one 1/`declared_fps`;
- not later than its predecessor, by up to one second (pictures out of order, two with the same stamp): a quarter of an
  interval after its predecessor, and the source's clock stays valid: the time line is right again once it moves on;
- further back (restart, loop, wrap-around) or further ahead than `max_gap_seconds`: a discontinuity. The picture comes
  one interval after its predecessor, the source's clock is read relative to that from now on, and
  `num_discontinuities` grows.
"""

from __future__ import annotations

import math

_DEFAULT_INTERVAL_SECONDS = 1 / 25  # a container that declares no usable rate
_MIN_INTERVAL_SECONDS = 0.001  # time must move on in floating point, too
_MAX_INTERVAL_SECONDS = 1.0  # longer distances are pauses, not a rate to go on with
_MAX_STEP_BACK_SECONDS = 1.0  # re-ordering is a few pictures; more than this is another time line


class SourceClock:
    """Gives each picture of one source its `pts_seconds`; the policy is the module's docstring.

    >>> clock = SourceClock(declared_fps=10, max_gap_seconds=60)
    >>> [round(clock.advance(raw), 2) for raw in (5.0, 5.1, None, 5.3, 0.0, 0.1)]
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    >>> clock.num_discontinuities
    1
    """

    def __init__(self, *, declared_fps: float | None, max_gap_seconds: float) -> None:
        self._interval = 1 / declared_fps if declared_fps and declared_fps > 0 else _DEFAULT_INTERVAL_SECONDS
        self._max_gap_seconds = max_gap_seconds
        self._origin: float | None = None  # the raw time that is 0 on our time line
        self._last: float | None = None
        self._last_good: float | None = None  # the last one taken from the source, unless one was missing since
        self.num_discontinuities = 0

    @property
    def next_seconds(self) -> float:
        """Where the next picture is expected: one interval after the last one; 0 before the first."""
        return 0.0 if self._last is None else self._last + self._interval

    def advance(self, raw_seconds: float | None) -> float:
        """The `pts_seconds` of the next picture, greater than all before it."""
        if raw_seconds is None or not math.isfinite(raw_seconds):
            self._last = pts_seconds = self.next_seconds
            self._last_good = None
            return pts_seconds
        if self._origin is None or self._last is None:
            pts_seconds = self.next_seconds
            self._origin = raw_seconds - pts_seconds
            self._last = self._last_good = pts_seconds
            return pts_seconds
        pts_seconds = raw_seconds - self._origin
        distance = pts_seconds - self._last
        if 0 < distance <= self._max_gap_seconds:
            if self._last_good is not None and pts_seconds - self._last_good <= _MAX_INTERVAL_SECONDS:
                self._interval = max(_MIN_INTERVAL_SECONDS, pts_seconds - self._last_good)
            self._last_good = pts_seconds
        elif -_MAX_STEP_BACK_SECONDS <= distance <= 0:
            pts_seconds = self._last + self._interval / 4
        else:
            self.num_discontinuities += 1
            pts_seconds = self._last + self._interval
            self._origin = raw_seconds - pts_seconds
            self._last_good = pts_seconds
        self._last = pts_seconds
        return pts_seconds
