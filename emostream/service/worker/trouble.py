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
_STEPS_SECONDS = 60.0  # a step waits for Redis, for some seconds at most, and starts streams one after the other


class Trouble:
    """Pauses during which a worker takes no streams, because its engine or its machine failed.

    Each pause is longer than the last, up to a minute, until the worker was healthy for that long.

    >>> now = 100.0
    >>> trouble = Trouble(random.Random(0), clock=lambda: now)
    >>> trouble.is_now, trouble.is_recent
    (False, False)
    >>> trouble.came()
    >>> trouble.is_now, trouble.is_recent
    (True, True)
    """

    def __init__(self, rng: random.Random, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._backoff = Backoff(
            rng, base_seconds=2 * _MIN_SECONDS, cap_seconds=_MAX_SECONDS, healthy_seconds=_HEALTHY_SECONDS
        )
        self._clock = clock
        self._until_seconds = float("-inf")

    @property
    def is_now(self) -> bool:
        """Whether the worker takes no streams now."""
        return self._clock() < self._until_seconds

    @property
    def is_recent(self) -> bool:
        """Whether there was a problem recently, so that the models should be checked."""
        return self._clock() < self._until_seconds + _HEALTHY_SECONDS

    def came(self) -> None:
        """A stream failed because of the worker; failures during a pause count once."""
        if self.is_now:
            return
        well_seconds = self._clock() - self._until_seconds
        delay_seconds = self._backoff.next_delay_seconds(ran_for_seconds=well_seconds)
        self._until_seconds = self._clock() + max(_MIN_SECONDS, delay_seconds)


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
