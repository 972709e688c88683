"""How long to wait before a lost source is opened again."""

from __future__ import annotations

import random

_BASE_SECONDS = 0.5
_CAP_SECONDS = 30.0
_HEALTHY_SECONDS = 30.0
_MAX_DOUBLINGS = 32  # far above the cap; keeps the power small for a source that is away for weeks


def max_delay_seconds(attempt: int, *, base_seconds: float = _BASE_SECONDS, cap_seconds: float = _CAP_SECONDS) -> float:
    """The longest wait before the 0-based `attempt`: doubles each time, up to the cap.

    >>> [max_delay_seconds(attempt) for attempt in (0, 1, 2, 6, 1000)]
    [0.5, 1.0, 2.0, 30.0, 30.0]
    """
    return min(cap_seconds, base_seconds * 2.0 ** min(attempt, _MAX_DOUBLINGS))


class Backoff:
    """Delays of one stream: anything between 0 and a limit that doubles ("full jitter").

    The jitter spreads the streams of a camera network that was down, so that they do not all come back at once. A
    source that ran long enough starts from the shortest delay again.

    >>> backoff = Backoff(random.Random(0))
    >>> all(backoff.next_delay_seconds(ran_for_seconds=1.0) <= limit for limit in (0.5, 1.0, 2.0))
    True
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        base_seconds: float = _BASE_SECONDS,
        cap_seconds: float = _CAP_SECONDS,
        healthy_seconds: float = _HEALTHY_SECONDS,
    ) -> None:
        self._rng = rng
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._healthy_seconds = healthy_seconds
        self.num_failures = 0
        """Failures since the source was last healthy."""

    def next_delay_seconds(self, *, ran_for_seconds: float) -> float:
        """How long to wait after a failure; `ran_for_seconds` is how long frames had come before it (0: not at all)."""
        if ran_for_seconds >= self._healthy_seconds:
            self.num_failures = 0
        limit = max_delay_seconds(self.num_failures, base_seconds=self._base_seconds, cap_seconds=self._cap_seconds)
        self.num_failures += 1
        return self._rng.uniform(0.0, limit)
