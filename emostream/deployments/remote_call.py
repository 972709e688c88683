"""Calls to other deployments that are retried when their replica ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from emostream.errors import ModelError

MAX_RETRY_SECONDS = 30.0
"""A killed replica is replaced within about 10 s."""

_RETRY_PAUSE_SECONDS = 0.2
_MAX_FAILURES = 3


async def answer_of(
    call: Callable[[], Awaitable[Any]],
    *,
    what: str,
    unavailable: type[ModelError],
    max_retry_seconds: float = MAX_RETRY_SECONDS,
) -> Any:
    """Await a call; repeat it when its replica ended meanwhile, since Serve starts another one.

    Args:
        call: starts the call; called once per attempt.
        what: name of the callee, for messages.
        unavailable: the exception to raise.
        max_retry_seconds: limit of the total time.

    Raises:
        ModelError: of type `unavailable`, when there was no result in time, or the model failed repeatedly: the worker
            is not at fault then, and Serve replaces a replica whose model fails.
    """
    deadline = time.monotonic() + max_retry_seconds
    num_failures = 0
    while True:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await call()
        except RayTaskError as exc:
            num_failures += 1
            if num_failures == _MAX_FAILURES:
                raise unavailable(f"{what} failed: {exc.cause}") from exc
        except (RayError, RayServeException, TimeoutError) as exc:
            if time.monotonic() >= deadline:
                raise unavailable(
                    f"{what} did not answer within {max_retry_seconds:g} s: {exc or 'no replica is running'}"
                ) from exc
        await asyncio.sleep(_RETRY_PAUSE_SECONDS)
