"""When frames of a source that arrives in bursts are given out: at the pace of their own time."""

from __future__ import annotations

KEPT_BEHIND_SECONDS = 6.0
"""So much of a delay that a silence of the source left is kept, as a buffer against the next one: the duration of one
segment that Apple's authoring specification for HLS recommends."""

_CATCH_UP_RATIO = 0.1  # of the time that passes, while more than that is left of a delay
MAX_WAIT_SECONDS = 3.0
"""For one frame; shorter than any watchdog. A longer distance is a pause, after which time starts anew."""


class ReleaseClock:
    """Spreads segments of several seconds, which arrive at once, over their time.

    A segment is read while the one before it is given out, so one segment is the buffer. A frame that comes too late is
    given out at once, and those after it keep their distances to it. What was delayed by more than
    `KEPT_BEHIND_SECONDS` catches up a tenth faster than it came, as long as there is something to catch up with.

    >>> clock = ReleaseClock()
    >>> [round(clock.wait_seconds(pts, now_seconds=now), 2) for pts, now in ((0.0, 5.0), (0.1, 5.0), (0.2, 5.1))]
    [0.0, 0.1, 0.1]
    """

    def __init__(self) -> None:
        self._due_at_zero: float | None = None
        self._last_pts = 0.0
        self._behind_seconds = 0.0

    def wait_seconds(self, pts_seconds: float, *, now_seconds: float) -> float:
        """How long to wait before the next frame is given out; call in order, with a clock that only grows."""
        if self._due_at_zero is None:
            self._due_at_zero = now_seconds - pts_seconds
        step_seconds, self._last_pts = pts_seconds - self._last_pts, pts_seconds
        if self._behind_seconds > KEPT_BEHIND_SECONDS:
            gained = min(_CATCH_UP_RATIO * step_seconds, self._behind_seconds - KEPT_BEHIND_SECONDS)
            self._due_at_zero -= gained
            self._behind_seconds -= gained
        early_seconds = self._due_at_zero + pts_seconds - now_seconds
        if early_seconds > MAX_WAIT_SECONDS:
            self._due_at_zero -= early_seconds - MAX_WAIT_SECONDS
            return MAX_WAIT_SECONDS
        if early_seconds < 0:  # there was nothing to catch up with, and there may be now
            self._due_at_zero -= early_seconds
            self._behind_seconds = -early_seconds
            return 0.0
        return early_seconds
