"""A call to another deployment that outlives the replica it was made to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from emostream.errors import ModelError

MAX_RETRY_SECONDS = 30.0
"""A replica that was killed is back within about 10 s."""

_RETRY_PAUSE_SECONDS = 0.2
_MAX_FAILURES = 3


async def answer_of(
    call: Callable[[], Awaitable[Any]],
    *,
    what: str,
    unavailable: type[ModelError],
    max_retry_seconds: float = MAX_RETRY_SECONDS,
) -> Any:
    """What a call answers, made again where its replica went away meanwhile: Serve starts another one.

    Args:
        call: makes it, once each time.
        what: is called, for the messages.
        unavailable: raised when nobody answers in time.
        max_retry_seconds: how long to wait for an answer.

    Raises:
        ModelError: of the kind `unavailable`. Also when the model failed, several times: that is no fault of the worker
            that asks, and Serve replaces a replica that cannot compute.
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
