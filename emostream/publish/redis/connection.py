"""Connects to Redis and says in our words what went wrong there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from emostream.domain.redact import redact, shown_address
from emostream.errors import ConfigError, EventRejectedError, PublishError, SinkUnavailableError
from emostream.publish import retry
from emostream.publish.redis.address import RedisAddress, Topology, parse_redis_url

T = TypeVar("T")

REDIS_ERRORS = (redis_errors.RedisError, redis_errors.RedisClusterException, OSError)
"""Everything the client raises."""

_MAX_CONNECTIONS = 1000  # per server; the streams of one process fit

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
    redis_errors.ClusterError,
    redis_errors.TryAgainError,
    redis_errors.RedisClusterException,
    OSError,
)
_PASSING_REPLIES = ("MISCONF", "BUSY ", "LOADING", "NOREPLICAS", "OOM")


def open_redis(url: str, *, timeout_seconds: float, answer_timeout_seconds: float | None = None) -> Redis:
    """A client for the URL. It connects at its first command and does not retry by itself; `close_redis` closes it.

    Args:
        url: of one server (`redis://`, `rediss://`, `unix://`), of servers behind Sentinels (`redis+sentinel://`), or
            of a cluster (`redis+cluster://`); docs/events.md has the forms.
        timeout_seconds: bound on connecting and on waiting for an answer.
        answer_timeout_seconds: bound on waiting for an answer where it differs, for blocking reads.

    Returns:
        The client; for a cluster one with the same commands (`is_cluster`).

    Raises:
        ConfigError: the URL is not one of Redis.
    """
    address = parse_redis_url(url)
    settings: dict[str, Any] = {
        "protocol": 2,  # one shape of replies with every server version
        "socket_connect_timeout": timeout_seconds,
        "socket_timeout": answer_timeout_seconds or timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": _MAX_CONNECTIONS,
    }
    try:
        if address.topology is Topology.CLUSTER:
            return _cluster(address, settings)
        is_single = address.topology is Topology.SINGLE
        client = Redis.from_url(address.server_url, **settings) if is_single else _behind_sentinels(address, settings)
        pool: Any = client.connection_pool
        pool.make_connection()  # does not connect, but refuses options it does not know
        return client
    except (ValueError, TypeError) as exc:
        raise ConfigError(
            f"Redis URL {shown_address(url)} is not usable: {redact(str(exc))}; expected for example redis://localhost:6379/0"
        ) from exc


def _behind_sentinels(address: RedisAddress, settings: dict[str, Any]) -> Redis:
    """A client for the primary that the Sentinels name at each new connection."""
    options = _options(address) | settings
    user, password = address.sentinel_login
    at_sentinels = {name: value for name, value in options.items() if name.startswith("ssl")} | settings
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        address.nodes, sentinel_kwargs=at_sentinels | {"username": user, "password": password}, **options
    )
    primary: Redis = sentinel.master_for(address.service)
    return primary


def _cluster(address: RedisAddress, settings: dict[str, Any]) -> Redis:
    nodes = [ClusterNode(host, port) for host, port in address.nodes]
    return cast(Redis, RedisCluster(startup_nodes=nodes, **_options(address) | settings))


def _options(address: RedisAddress) -> dict[str, Any]:
    """What the URL says beside the addresses: login, database, TLS."""
    options: dict[str, Any] = dict(parse_url(address.server_url))
    options["ssl"] = options.pop("connection_class", None) is SSLConnection
    return {name: value for name, value in options.items() if name not in ("host", "port")}


def is_cluster(client: Redis) -> bool:
    """Whether commands on several keys must be split, because each key may be on another server."""
    return isinstance(client, RedisCluster)


async def close_redis(client: Redis) -> None:
    """Close the connections, those to Sentinels as well."""
    await client.aclose()
    pool = None if is_cluster(client) else client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


def translate(exc: Exception, *, url: str) -> ConfigError | PublishError:
    """What the client raised → what the caller should do about it; credentials masked."""
    if isinstance(exc, ConfigError | PublishError):
        return exc  # translated already, by a call within
    exc = _first(exc)
    where = f"Redis at {shown_address(url)}"
    problem = redact(" ".join(str(exc).split())).rstrip(".") or type(exc).__name__
    if wrong := _wrong_setting(exc, problem):
        return ConfigError(f"{where} {wrong}")
    if isinstance(exc, MasterNotFoundError):
        service = problem.partition(" : ")[0].removeprefix("No master found for ")
        problem = (
            f"no Sentinel names a primary of {service}; check that the Sentinels run and watch a service of this name, "
            "and that their password and TLS fit"
        )
        return SinkUnavailableError(f"{where} cannot be reached: {problem}", url=shown_address(url))
    if is_full(exc):
        return SinkUnavailableError(
            f"{where} is full: it takes nothing new until its memory (maxmemory) suffices again; give it more, remove "
            "what else it holds, or keep fewer events (publish.max_events_per_stream, publish.max_age_seconds)",
            url=shown_address(url),
        )
    if isinstance(exc, _PASSING_ERRORS) or problem.startswith(_PASSING_REPLIES):
        return SinkUnavailableError(
            f"{where} cannot be reached: {problem}; check that the server runs", url=shown_address(url)
        )
    return EventRejectedError(f"{where} refused a command: {problem}", url=shown_address(url))


def is_full(exc: Exception) -> bool:
    """Whether the server refused a command because its memory is used up."""
    # Before Redis 7.0 the error of a script that was refused is wrapped in one of its own.
    return isinstance(exc, redis_errors.OutOfMemoryError) or "OOM command not allowed" in str(exc)


def is_missing(exc: Exception) -> bool:
    """Whether the server refused a command because there is no such key."""
    return isinstance(exc, redis_errors.ResponseError) and "no such key" in str(exc)


def _wrong_setting(exc: Exception, problem: str) -> str:
    """What to change in the settings; empty when nothing there is wrong."""
    if isinstance(exc, _LOGIN_ERRORS) or problem.startswith("NOAUTH"):
        return f"refused the login: {problem}; check user and password in the URL"
    if isinstance(exc, redis_errors.MovedError):
        return "is one node of a cluster: use redis+cluster:// instead of redis://"
    if "cluster support disabled" in problem:
        return "is no cluster: use redis:// instead of redis+cluster://"
    if isinstance(exc, redis_errors.InvalidResponse):
        return f"does not speak the Redis protocol: {problem}; check host and port"
    return ""


def _first(exc: Exception) -> Exception:
    """What went wrong at first, out of what the client of a cluster wraps it in."""
    while isinstance(exc, redis_errors.RedisClusterException):
        inner = exc.__cause__ or exc.__context__
        if not isinstance(inner, Exception):
            break
        exc = inner
    return exc


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

    async def attempt() -> T:
        try:
            return await _keeping_cancellation(command)
        except REDIS_ERRORS as exc:
            raise translate(exc, url=url) from exc

    return await retry.with_retries(attempt, max_retry_seconds=max_retry_seconds, on_retry=on_retry)


async def _keeping_cancellation(command: Callable[[], Awaitable[T]]) -> T:
    # The client writes under asyncio.wait_for, which on Python 3.11 forgets a cancellation that arrives just as the
    # write is done. The canceller would wait for ever for a reader that goes on.
    task = asyncio.current_task()
    num_before = task.cancelling() if task is not None else 0
    try:
        return await command()
    finally:
        if task is not None and task.cancelling() > num_before:
            raise asyncio.CancelledError
