"""Connects to Redis and says in our words what went wrong there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from emostream.errors import ConfigError, EventRejectedError, PublishError, SinkUnavailableError
from emostream.redact import redact

logger = logging.getLogger(__name__)

T = TypeVar("T")

REDIS_ERRORS = (redis_errors.RedisError, OSError)
"""Everything the client raises."""

_LOGIN_ERRORS = (
    redis_errors.AuthenticationError,
    redis_errors.AuthenticationWrongNumberOfArgsError,
    redis_errors.AuthorizationError,
    redis_errors.NoPermissionError,
)
_PASSING_ERRORS = (
    redis_errors.ConnectionError,  # includes: is still loading its data
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,  # a failover is under way
    redis_errors.OutOfMemoryError,
    redis_errors.ClusterDownError,
    redis_errors.TryAgainError,
    OSError,
)
_PASSING_REPLIES = ("MISCONF", "BUSY ", "LOADING", "NOREPLICAS", "OOM")


def open_redis(url: str, *, timeout_seconds: float, answer_timeout_seconds: float | None = None) -> Redis:
    """A client for the URL. It connects at its first command and does not retry by itself.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        timeout_seconds: bound on connecting and on waiting for an answer.
        answer_timeout_seconds: bound on waiting for an answer where it differs, for blocking reads.

    Raises:
        ConfigError: the URL is not one of Redis.
    """
    try:
        return Redis.from_url(
            url,
            protocol=2,  # one shape of replies with every server version
            socket_connect_timeout=timeout_seconds,
            socket_timeout=answer_timeout_seconds or timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as exc:
        raise ConfigError(
            f"Redis URL {redact(url)} is not usable: {redact(str(exc))}; expected for example redis://localhost:6379/0"
        ) from exc


def translate(exc: Exception, *, url: str) -> ConfigError | PublishError:
    """What the client raised → what the caller should do about it; credentials masked."""
    where = f"Redis at {redact(url)}"
    problem = redact(" ".join(str(exc).split())).rstrip(".") or type(exc).__name__
    if isinstance(exc, _LOGIN_ERRORS) or problem.startswith("NOAUTH"):
        return ConfigError(f"{where} refused the login: {problem}; check user and password in the URL")
    if isinstance(exc, _PASSING_ERRORS) or problem.startswith(_PASSING_REPLIES):
        return SinkUnavailableError(
            f"{where} cannot be reached: {problem}; check that the server runs", url=redact(url)
        )
    if isinstance(exc, redis_errors.InvalidResponse):
        return ConfigError(f"{where} does not speak the Redis protocol: {problem}; check host and port")
    return EventRejectedError(f"{where} refused a command: {problem}", url=redact(url))


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
    command: Callable[[], Awaitable[T]],
    *,
    url: str,
    max_retry_seconds: float,
    on_retry: Callable[[], None] = lambda: None,
) -> T:
    """Run a command, again and again while the server is away; the command must be safe to repeat.

    Args:
        command: sends the command; called once per attempt.
        url: named, redacted, in errors.
        max_retry_seconds: give up when the next attempt would start later than this after the first failure.
        on_retry: called before each further attempt.

    Raises:
        SinkUnavailableError: the server stayed away.
        ConfigError, EventRejectedError: trying again would not help.
    """
    failed_at: float | None = None
    for delay in retry_delays():
        try:
            return await _keeping_cancellation(command)
        except REDIS_ERRORS as exc:
            error = translate(exc, url=url)
            if not error.retryable:
                raise error from exc
            now = time.monotonic()
            is_first = failed_at is None
            failed_at = now if failed_at is None else failed_at
            if now + delay - failed_at > max_retry_seconds:
                raise error from exc
            if is_first:
                logger.warning("%s; trying again for %g s", error, max_retry_seconds)
        await asyncio.sleep(delay)
        on_retry()
    raise AssertionError("the delays are endless")


async def _keeping_cancellation(command: Callable[[], Awaitable[T]]) -> T:
    # The client writes under asyncio.wait_for, which on Python 3.11 forgets a cancellation that arrives just as the
    # write is done. Whoever cancelled would wait for ever for a reader that goes on.
    task = asyncio.current_task()
    num_before = task.cancelling() if task is not None else 0
    try:
        return await command()
    finally:
        if task is not None and task.cancelling() > num_before:
            raise asyncio.CancelledError
