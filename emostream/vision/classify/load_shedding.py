"""Pure: which frames of an overloaded live stream are classified."""

from __future__ import annotations

LATE_SECONDS = 0.12
"""A frame that waited longer than this, three intervals of 25 frames per second, says that there is too much work."""
_CALM_SECONDS = 2.0  # without a late frame before more is taken on again
_SETTLE_SECONDS = 0.5  # before a change can be judged: what waits already was taken on before it
_MAX_STEP = 8


class LoadShedding:
    """Gives up scores before frames: of a stream whose frames wait too long only every 2nd, 4th, 8th is classified.

    Frames in between keep the last scores of their faces, evenly spaced, and say so. The step doubles while frames are
    late and halves after two seconds in which none was. One per stream; not thread-safe; time is a parameter.
    """

    def __init__(self) -> None:
        self._step = 1
        self._changed_at = -_SETTLE_SECONDS
        self._late_at = -_CALM_SECONDS
        self._num_since_due = 0

    @property
    def step(self) -> int:
        """One of this many frames is classified."""
        return self._step

    def is_due(self, *, wait_seconds: float, now_seconds: float) -> bool:
        """Whether to classify the next frame.

        Args:
            wait_seconds: how long it waited to be looked at.
            now_seconds: a monotonic instant.
        """
        self._adapt(wait_seconds, now_seconds)
        self._num_since_due += 1
        if self._num_since_due < self._step:
            return False
        self._num_since_due = 0
        return True

    def _adapt(self, wait_seconds: float, now_seconds: float) -> None:
        if wait_seconds > LATE_SECONDS:
            self._late_at = now_seconds
            if self._step < _MAX_STEP and now_seconds - self._changed_at >= _SETTLE_SECONDS:
                self._step, self._changed_at = 2 * self._step, now_seconds
        elif self._step > 1 and now_seconds - max(self._late_at, self._changed_at) >= _CALM_SECONDS:
            self._step, self._changed_at = self._step // 2, now_seconds
