"""Load shedding: which frames of an overloaded live stream are classified."""

from __future__ import annotations

LATE_SECONDS = 0.12
"""A frame that waited longer than three intervals at 25 frames per second means that the machine is overloaded."""
_CALM_SECONDS = 2.0  # without a late frame before the load is raised again
_SETTLE_SECONDS = 0.5  # before a change can be judged: frames that already wait were accepted under the old step
_MAX_STEP = 8


class LoadShedding:
    """Classifies only every 2nd, 4th or 8th frame of a late stream, before frames have to be dropped.

    Frames in between repeat the last scores of their faces and are marked as such in the event. The step doubles while
    frames are late and halves after two seconds without a late one. One per stream; not thread-safe; time is a
    parameter.
    """

    def __init__(self) -> None:
        self._step = 1
        self._changed_at = -_SETTLE_SECONDS
        self._late_at = -_CALM_SECONDS
        self._num_since_due = 0

    @property
    def step(self) -> int:
        """Every how many frames one is classified: 1, 2, 4 or 8."""
        return self._step

    def is_due(self, *, wait_seconds: float, now_seconds: float) -> bool:
        """Whether to classify the next frame.

        Args:
            wait_seconds: how long the frame waited for processing.
            now_seconds: monotonic time.
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
