"""Trying a delivery again: when, and for how long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from emostream.errors import EmostreamError

T = TypeVar("T")

logger = logging.getLogger(__name__)


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


async def with_retries(
    call: Callable[[], Awaitable[T]],
    *,
    max_retry_seconds: float,
    on_retry: Callable[[], None] = lambda: None,
) -> T:
    """Await a call, again and again while it fails with an error that may pass; it must be safe to repeat.

    Args:
        call: made once per attempt; raises errors of emostream, whose `retryable` decides.
        max_retry_seconds: give up when the next attempt would start later than this after the first failure.
        on_retry: called before each further attempt.

    Raises:
        EmostreamError: the last one.
    """
    failed_at: float | None = None
    for delay in retry_delays():
        try:
            return await call()
        except EmostreamError as exc:
            now = time.monotonic()
            if not exc.retryable or now + delay - (now if failed_at is None else failed_at) > max_retry_seconds:
                raise
            if failed_at is None:
                logger.warning("%s; trying again for %g s", exc, max_retry_seconds)
                failed_at = now
        await asyncio.sleep(delay)
        on_retry()
    raise AssertionError("the delays are endless")
