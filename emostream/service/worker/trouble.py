"""Tracks a worker's own problems, so that its streams are not blamed for them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from emostream.decode.backoff import Backoff
from emostream.errors import EmostreamError

_MIN_SECONDS = 1.0  # for other workers to take the streams that were released
_MAX_SECONDS = 60.0
_HEALTHY_SECONDS = 60.0
_TOGETHER_SECONDS = 10.0  # two streams that fail within this time have the same cause
_MAX_PAUSES = 5  # about a minute and a half
_STEPS_SECONDS = 60.0  # a step waits for Redis, for some seconds at most, and starts streams one after the other


class Trouble:
    """Pauses during which a worker takes no streams, because its engine or its machine failed.

    Each pause is longer than the last, up to a minute, until the worker was healthy for that long. A stream that fails
    while others run may be the cause itself, so it takes two streams, or one that runs alone. A worker that had several
    pauses and published nothing in between needs a new process.

    >>> now = 100.0
    >>> trouble = Trouble(random.Random(0), clock=lambda: now)
    >>> trouble.is_now, trouble.is_recent
    (False, False)
    >>> trouble.came("a", do_others_run=True)
    >>> trouble.is_now
    False
    >>> trouble.came("b", do_others_run=True)
    >>> trouble.is_now, trouble.is_recent
    (True, True)
    """

    def __init__(self, rng: random.Random, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._backoff = Backoff(
            rng, base_seconds=2 * _MIN_SECONDS, cap_seconds=_MAX_SECONDS, healthy_seconds=_HEALTHY_SECONDS
        )
        self._clock = clock
        self._until_seconds = float("-inf")
        self._failed_seconds: dict[str, float] = {}  # stream id → when it failed last
        self._num_pauses = 0
        self._is_new = False

    @property
    def is_now(self) -> bool:
        """Whether the worker takes no streams now."""
        return self._clock() < self._until_seconds

    @property
    def is_recent(self) -> bool:
        """Whether there was a problem recently, so that the models should be checked."""
        return self._clock() < self._until_seconds + _HEALTHY_SECONDS

    def came(self, stream_id: str, *, do_others_run: bool) -> None:
        """A stream failed because of the worker; failures during a pause count once.

        Args:
            stream_id: the stream.
            do_others_run: whether other streams of the worker are published.
        """
        now_seconds = self._clock()
        self._failed_seconds[stream_id] = now_seconds
        recent = {name: at for name, at in self._failed_seconds.items() if now_seconds - at < _TOGETHER_SECONDS}
        self._failed_seconds = recent
        if self.is_now or (do_others_run and len(recent) < 2):
            return
        self._num_pauses += 1
        self._is_new = True
        well_seconds = now_seconds - self._until_seconds
        delay_seconds = self._backoff.next_delay_seconds(ran_for_seconds=well_seconds)
        self._until_seconds = now_seconds + max(_MIN_SECONDS, delay_seconds)

    def published(self) -> None:
        """Some stream published frames since the last call; those from before a problem that came meanwhile do not
        count."""
        if not self._is_new:
            self._num_pauses = 0
        self._is_new = False

    def check(self) -> None:
        """Raise `EmostreamError` when the problem does not go away in this process."""
        if self._num_pauses >= _MAX_PAUSES:
            raise EmostreamError(
                f"streams failed because of this worker {self._num_pauses} times in a row, and none was published in "
                "between; its log has the reason"
            )


class StepWatch:
    """Detects that a worker makes no progress.

    Args:
        limit_seconds: how long steps may fail or take.
        clock: monotonic seconds.
    """

    def __init__(self, *, limit_seconds: float = _STEPS_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._progressed_seconds = clock()
        self._error = ""

    def progressed(self) -> None:
        """Some work succeeded."""
        self._progressed_seconds = self._clock()
        self._error = ""

    def failed(self, exc: Exception) -> None:
        """A step failed with an unexpected exception."""
        self._error = type(exc).__name__

    def check(self) -> None:
        """Raise `EmostreamError` when there was no progress for too long."""
        seconds = self._clock() - self._progressed_seconds
        if seconds > self._limit_seconds:
            why = f"its steps fail with {self._error}" if self._error else "a step does not finish"
            raise EmostreamError(f"the worker made no progress for {seconds:.0f} s: {why}")
