"""What the client raises is translated once, retried as long as asked for, and never shows a password."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions as redis_errors

from emostream.errors import ConfigError, EmostreamError, EventRejectedError, SinkUnavailableError
from emostream.publish.redis.connection import open_redis, translate, with_retries
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.retry import retry_delays

URL = "redis://user:secret@host:6379/0"


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (redis_errors.ConnectionError("Error 111 connecting to host:6379"), SinkUnavailableError),
        (redis_errors.TimeoutError("Timeout reading from host:6379"), SinkUnavailableError),
        (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), SinkUnavailableError),
        (redis_errors.ReadOnlyError("You can't write against a read only replica."), SinkUnavailableError),
        (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), SinkUnavailableError),
        (redis_errors.ResponseError("MISCONF Errors writing to the AOF file: No space left"), SinkUnavailableError),
        (redis_errors.ResponseError("BUSY Redis is busy running a script."), SinkUnavailableError),
        (ConnectionResetError(104, "Connection reset by peer"), SinkUnavailableError),
        (redis_errors.AuthenticationError("invalid username-password pair"), ConfigError),
        (redis_errors.NoPermissionError("this user has no permissions to run the 'evalsha' command"), ConfigError),
        (redis_errors.ResponseError("NOAUTH Authentication required."), ConfigError),
        (redis_errors.InvalidResponse("Protocol Error: b'HTTP/1.1 400'"), ConfigError),
        (redis_errors.ResponseError("WRONGTYPE Operation against a key"), EventRejectedError),
        (redis_errors.ResponseError("unknown command 'EVALSHA'"), EventRejectedError),
        (redis_errors.DataError("Invalid input"), EventRejectedError),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, Exception) else value.__name__,
)
def test_says_what_the_caller_should_do(exc: Exception, expected: type[EmostreamError]) -> None:
    error = translate(exc, url=URL)
    assert type(error) is expected
    assert "redis://***@host:6379/0" in str(error)


def test_a_password_in_the_clients_own_words_is_masked() -> None:
    error = translate(redis_errors.ConnectionError(f"cannot connect to {URL}"), url=URL)
    assert "secret" not in str(error)


@given(st.floats(0.001, 1), st.floats(1, 60), st.integers(1, 100))
def test_pauses_grow_and_are_bounded(first: float, longest: float, num: int) -> None:
    delays = list(itertools.islice(retry_delays(first_seconds=first, longest_seconds=longest), num))
    assert delays == sorted(delays)
    assert delays[0] == first
    assert max(delays) <= longest


async def test_comes_through_after_failures() -> None:
    answers: list[Exception | int] = [redis_errors.ConnectionError("away"), TimeoutError("slow"), 5]
    num_retries = 0

    async def command() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def on_retry() -> None:
        nonlocal num_retries
        num_retries += 1

    assert await with_retries(command, url=URL, max_retry_seconds=5, on_retry=on_retry) == 5
    assert num_retries == 2


async def test_gives_up_after_the_given_time() -> None:
    async def command() -> None:
        raise redis_errors.ConnectionError("away")

    started = time.monotonic()
    with pytest.raises(SinkUnavailableError) as caught:
        await with_retries(command, url=URL, max_retry_seconds=0.2)
    assert time.monotonic() - started < 10
    assert isinstance(caught.value.__cause__, redis_errors.ConnectionError)


async def test_does_not_repeat_what_cannot_succeed() -> None:
    num_calls = 0

    async def command() -> None:
        nonlocal num_calls
        num_calls += 1
        raise redis_errors.AuthenticationError("wrong password")

    with pytest.raises(ConfigError):
        await with_retries(command, url=URL, max_retry_seconds=60)
    assert num_calls == 1


@pytest.mark.integration
async def test_a_cancellation_is_never_lost(redis_server: EmbeddedRedis) -> None:
    """Whatever the client is doing: the loop's steps between start and cancellation place it at every await."""
    async with open_redis(redis_server.url, timeout_seconds=5) as client:

        async def ping_for_ever() -> None:
            while True:
                await with_retries(client.ping, url=redis_server.url, max_retry_seconds=5)

        for num_steps in range(120):
            pinging = asyncio.create_task(ping_for_ever())
            for _ in range(num_steps):
                await asyncio.sleep(0)
            pinging.cancel()
            done, _ = await asyncio.wait([pinging], timeout=2)
            pinging.cancel()
            assert done, f"it goes on after a cancellation at step {num_steps}"
            assert pinging.cancelled()
