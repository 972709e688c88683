"""What a worker knows of itself. Its own trouble is no fault of its streams (decision D15)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from emostream.decode.backoff import Backoff
from emostream.errors import EmostreamError

_MIN_SECONDS = 1.0  # for others to take the streams that were given back
_MAX_SECONDS = 60.0
_HEALTHY_SECONDS = 60.0
_STEPS_SECONDS = 60.0  # a step waits for Redis, for some seconds at most, and starts streams one after the other


class Trouble:
    """Times at which a worker takes no streams, because its engine or its machine failed them.

    Each is longer than the one before, up to a minute, until it was well for as long.

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
        """Whether to take no streams."""
        return self._clock() < self._until_seconds

    @property
    def is_recent(self) -> bool:
        """Whether it was in trouble lately, so that it should be looked at."""
        return self._clock() < self._until_seconds + _HEALTHY_SECONDS

    def came(self) -> None:
        """A stream failed for a reason of the worker; all that fail in the same moment count once."""
        if self.is_now:
            return
        well_seconds = self._clock() - self._until_seconds
        delay_seconds = self._backoff.next_delay_seconds(ran_for_seconds=well_seconds)
        self._until_seconds = self._clock() + max(_MIN_SECONDS, delay_seconds)


class StepWatch:
    """Whether the steps of a worker come to their end.

    Args:
        limit_seconds: so long they may fail, or take.
        clock: monotonic seconds.
    """

    def __init__(self, *, limit_seconds: float = _STEPS_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._progressed_seconds = clock()
        self._error = ""

    def progressed(self) -> None:
        """Something was done as it should be."""
        self._progressed_seconds = self._clock()
        self._error = ""

    def failed(self, exc: Exception) -> None:
        """A step ended with a defect."""
        self._error = type(exc).__name__

    def check(self) -> None:
        """Raise `EmostreamError` when nothing was done for too long."""
        seconds = self._clock() - self._progressed_seconds
        if seconds > self._limit_seconds:
            why = f"its steps fail with {self._error}" if self._error else "a step does not end"
            raise EmostreamError(f"the worker made no progress for {seconds:.0f} s: {why}")
