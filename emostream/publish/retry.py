"""Delays between tries of a delivery."""

from __future__ import annotations

from collections.abc import Iterator


def retry_delays(*, first_seconds: float = 0.05, longest_seconds: float = 1.0) -> Iterator[float]:
    """Pauses between attempts: doubling, bounded, endless.

    >>> from itertools import islice
    >>> list(islice(retry_delays(), 7))
    [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    """
    delay = first_seconds
    while True:
        yield min(delay, longest_seconds)
        delay = min(delay * 2, longest_seconds)
