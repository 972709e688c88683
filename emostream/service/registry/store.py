"""The registry in Redis: its keys and scripts, with retries."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Self, TypeVar, cast

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from emostream.config import PublishSettings
from emostream.domain.redact import shown_address
from emostream.errors import ConfigError, EventRejectedError, PublishError, RegistryError, RegistryUnavailableError
from emostream.publish.redis.bounded_script import BoundedScript
from emostream.publish.redis.connection import close_redis, open_redis, with_retries
from emostream.publish.redis.event_memory import EventMemory, MemoryProblems
from emostream.publish.redis.fence import Fence
from emostream.publish.redis.reads import RawEntry, ends_of, first_of_each
from emostream.wire.events import decode_event
from emostream.wire.keys import events_key, registry_key

RECORDS = registry_key("records")
"""Hash: stream id → JSON of the wanted stream, with the URL as submitted."""
FINISHED = registry_key("finished")
"""Hash: stream id → final state of streams that need no more work."""
REPORTS = registry_key("reports")
"""Hash: stream id → JSON of its owner's last report."""
LEASES = registry_key("leases")
"""Hash: stream id → `worker epoch`, also expired ones. In addition, per worker, `leases:ID`: set of its streams."""
LEASE_ENDS = registry_key("lease-ends")
"""Sorted set: streams with a valid lease, by expiry in ms."""
WORKERS = registry_key("workers")
"""Hash: worker id → `max_streams num_streams is_draining`."""
WORKER_ENDS = registry_key("worker-ends")
"""Sorted set: living workers, by expiry in ms."""
REVISION = registry_key("revision")
"""The version: increases with each change of a record, a stream's state or a worker."""
CHANGES = registry_key("changes")
"""Sorted set: changed entries (`r` or `s` and a stream id, `w` and a worker id), by version of their last change."""
GONE = registry_key("gone")
"""Sorted set: those of `CHANGES` that were removed, limited in number."""
FLOOR = registry_key("floor")
"""The version up to which removals were forgotten."""
EPOCH = registry_key("epoch")
"""The last fencing token that was issued."""
HELPERS = registry_key("helpers")
"""Sorted set: processes without streams that have metrics (shared classifiers), by time of their last call."""
OPENINGS = registry_key("attempts")
"""Hash: stream that is being opened → JSON: worker, host, and hosts of the workers that died while opening it."""
VERDICTS = registry_key("verdicts")
"""Hash: stream → JSON: worker that could not run it → reason (`verdicts.py`)."""
HOSTS = registry_key("hosts")
"""Hash: living worker → name of its host, known since it opened its first stream."""
VIEWERS = registry_key("viewers")
"""Hash: channel of a preview → until when it is watched, in ms."""
GENERATION = registry_key("generation")
"""A random name that changes only when the server lost its data."""
JOBS = registry_key("jobs")
"""Hash: job id → JSON. In addition, per job: `jobs:todo:ID` (waiting records), `jobs:active:ID` (streams in the
registry), `jobs:urls:ID` (their files), `jobs:results:ID` (results of the others), `jobs:sums:ID`."""
OPEN_JOBS = registry_key("jobs:open")
"""Set: jobs with files that are not done. Only these are looked at regularly."""
DONE_JOBS = registry_key("jobs:done")
"""Sorted set: the other jobs, by the time at which they were done, in ms."""
EARLIER = registry_key("earlier")
"""Hash: stream → `num_frames num_faces` of its runs before the one that reported last."""

LAST_BEAT = registry_key("last-beat")
"""Time of the last heartbeat of any worker by the server's clock, in ms; tells whether that clock jumped."""

DELETED = registry_key("deleted")
"""Sorted set: deleted streams, limited in number, by the `created_epoch` of their last record."""

SERVICE = registry_key("service")
"""Name of the service whose workers use this registry (`service.name`)."""

OWNERS = registry_key("owners")
"""Hash: stream id → name of the token that created it, where tokens have a limit of streams. In addition, per token,
`owners:NAME`: set of its streams, also of some that are gone."""

# In the order in which registry.lua names them.
_SCRIPT_KEYS = (
    *(RECORDS, FINISHED, REPORTS, LEASES, LEASE_ENDS, WORKERS, WORKER_ENDS, REVISION, CHANGES, GONE, FLOOR, EPOCH),
    *(GENERATION, VIEWERS, JOBS, OPENINGS, VERDICTS, HOSTS, OPEN_JOBS, DONE_JOBS, EARLIER, LAST_BEAT, DELETED, SERVICE),
    OWNERS,
)
_SCRIPTS = files("emostream.service.registry").joinpath("scripts")

# All other scripts run on a full server too: they write little, and streams would lose their workers without them.
_REFUSED_WHEN_FULL = frozenset({"jobs_put"})

# Entries live longer than the metrics that they refer to, whose expiry decides what is shown.
_HELPER_SECONDS = 3600

_LATEST_EVENTS = 20

_EVENTS_PER_PAGE = 256
_MAX_PAGES = 40

T = TypeVar("T")


class RegistryStore:
    """A connection to the registry's server.

    Args:
        settings: time-outs and retries.
        redis_url: the server.
        max_retry_seconds: overrides the settings; heartbeats do not retry, because they are repeated anyway.
    """

    def __init__(self, settings: PublishSettings, *, redis_url: str, max_retry_seconds: float | None = None) -> None:
        self._url = redis_url
        self.max_idle_seconds = settings.max_idle_seconds
        """Finished jobs are deleted after this time; None keeps them."""
        self._max_retry_seconds = settings.max_retry_seconds if max_retry_seconds is None else max_retry_seconds
        self.redis: Redis = open_redis(redis_url, timeout_seconds=settings.connect_timeout_seconds)
        self._fence = Fence(self.redis)
        self._memory = EventMemory(self.redis, url=redis_url, settings=settings)
        self._scripts: dict[str, AsyncScript | BoundedScript] = {}

    async def run(self, script: str, arguments: Sequence[str | int]) -> Any:
        """Run one of the package's scripts, preceded by `registry.lua`.

        Raises:
            RegistryUnavailableError: the server cannot be reached, after retries.
            RegistryError: the server rejected the command.
            ConfigError: the login was rejected.
        """
        if script not in self._scripts:
            texts = (_SCRIPTS.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in ("registry", script))
            text = "\n".join(texts)
            is_large = script in _REFUSED_WHEN_FULL
            self._scripts[script] = self.redis.register_script(text) if is_large else BoundedScript(self.redis, text)
        registered = self._scripts[script]

        async def call() -> Any:
            return await cast(Awaitable[Any], registered(keys=list(_SCRIPT_KEYS), args=list(arguments)))

        return await self._retried(call)

    async def hash_of(self, key: str) -> dict[str, bytes]:
        """Read a hash; errors as in `run`."""

        async def call() -> dict[bytes, bytes]:
            return await cast("Awaitable[dict[bytes, bytes]]", self.redis.hgetall(key))

        found = await self._retried(call)
        return {name.decode(): value for name, value in found.items()}

    async def field_of(self, key: str, field: str) -> bytes | None:
        """Read a field of a hash; None when it does not exist. Errors as in `run`."""

        async def call() -> bytes | None:
            return await cast("Awaitable[bytes | None]", self.redis.hget(key, field))

        return await self._retried(call)

    async def fields_of(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        """Read fields of a hash; None for those that do not exist. Errors as in `run`."""
        if not fields:
            return []

        async def call() -> list[bytes | None]:
            return await cast("Awaitable[list[bytes | None]]", self.redis.hmget(key, list(fields)))

        return await self._retried(call)

    async def put_field(self, key: str, field: str, text: str) -> None:
        """Set a field of a hash; errors as in `run`."""

        await self.run("put_field", [key, field, text])

    async def drop_field(self, key: str, field: str) -> None:
        """Delete a field of a hash; errors as in `run`."""

        async def call() -> Any:
            return await self.redis.hdel(key, field)

        await self._retried(call)

    async def drop_member(self, key: str, member: str) -> None:
        """Delete a member of a sorted set; errors as in `run`."""

        async def call() -> Any:
            return await self.redis.zrem(key, member)

        await self._retried(call)

    async def put(self, key: str, text: str, *, seconds: int) -> None:
        """Set a key that expires after `seconds`; errors as in `run`."""

        await self.run("put_text", [key, text, seconds])

    async def note_helper(self, process_id: str) -> None:
        """Register a process without streams that has metrics; errors as in `run`."""
        await self.run("note_helper", [HELPERS, process_id, _HELPER_SECONDS])

    async def helpers(self) -> list[str]:
        """Processes that registered by `note_helper` recently; errors as in `run`."""

        async def call() -> list[bytes]:
            return await cast("Awaitable[list[bytes]]", self.redis.zrange(HELPERS, 0, -1))

        found = await self._retried(call)
        return [process_id.decode() for process_id in found]

    async def values_of(self, keys: Sequence[str]) -> list[bytes | None]:
        """Values of several keys, None for missing ones; errors as in `run`."""
        if not keys:
            return []

        async def call() -> list[bytes | None]:
            return await cast("Awaitable[list[bytes | None]]", self.redis.mget(keys))

        return await self._retried(call)

    async def last_event_before(self, epoch: int, *, stream_id: str) -> tuple[int, int, float] | None:
        """Epoch, frame index and time (`pts_seconds`; NaN where it cannot be read) of a stream's last event; None
        without events. Errors as in `run`.

        Fences off earlier epochs first, so that no other event can become the last one.
        """

        async def call() -> Any:
            await self._fence.raise_to(epoch, stream_id=stream_id)
            return await self.redis.xrevrange(events_key(stream_id), count=_LATEST_EVENTS)

        entries = await self._retried(call)
        # What does not come before the newest epoch was forged (append_events.lua).
        fields = next((fields for _, fields in entries if 0 <= _number(fields.get(b"epoch")) <= epoch), None)
        if fields is None:
            return None
        try:
            pts_seconds = decode_event(fields).pts_seconds
        except EventRejectedError:  # of a newer version
            pts_seconds = math.nan
        return _number(fields[b"epoch"]), _number(fields.get(b"frame_index")), pts_seconds

    async def figures_after(self, position: tuple[int, int], *, stream_id: str) -> tuple[int, int]:
        """How many events of a stream come after (epoch, frame index), and how many faces they have; errors as in
        `run`. Meant for the last seconds."""
        num_frames, num_faces, end = 0, 0, "+"
        for _ in range(_MAX_PAGES):
            entries: Any = await self._retried(
                partial(self.redis.xrevrange, events_key(stream_id), max=end, count=_EVENTS_PER_PAGE)
            )
            for _, fields in entries:
                if (_number(fields.get(b"epoch")), _number(fields.get(b"frame_index"))) <= position:
                    return num_frames, num_faces
                num_frames += 1
                with contextlib.suppress(EventRejectedError):  # of a newer version
                    num_faces += len(decode_event(fields).faces)
            if len(entries) < _EVENTS_PER_PAGE:
                break
            end = f"({entries[-1][0].decode()}"
        return num_frames, num_faces

    async def ends_of_events(self, stream_id: str) -> tuple[str, str] | None:
        """Entry ids of a stream's oldest and newest event; None without events. Errors as in `run`."""
        return await self._retried(lambda: ends_of(self.redis, events_key(stream_id)))

    async def first_events(self, stream_id: str, spans_ms: Sequence[tuple[int, int]]) -> list[RawEntry]:
        """A stream's first event in each span of capture times, see `first_of_each`. Errors as in `run`."""
        return await self._retried(lambda: first_of_each(self.redis, events_key(stream_id), spans_ms))

    async def claim(self, name: str) -> None:
        """Make this the registry of the service with this name; errors as in `run`.

        Raises:
            ConfigError: living workers of a service with another name use it.
        """
        holder: bytes = await self.run("claim_registry", [name])
        if holder:
            raise ConfigError(
                f"Redis at {shown_address(self._url)} is used by the service {holder.decode(errors='replace')!r}, and "
                f"this one is {name!r}: their streams would mix; give each its own database, for example "
                "redis://HOST:6379/1, or the same service.name if they are to share their streams"
            )

    async def memory_problems(self) -> MemoryProblems:
        """What is wrong with the server's memory; errors as in `run`."""
        return await self._retried(self._memory.find_problems, max_retry_seconds=0)

    def channel_of_database(self, channel: str) -> str:
        """A name for a channel that no other database of this server has: Redis passes messages between them."""
        database = cast(Any, self.redis).get_connection_kwargs().get("db") or 0
        return f"{channel}@{database}" if database else channel

    async def publish(self, channel: str, message: bytes) -> None:
        """Send a message to the current subscribers of a channel; errors as in `run`."""

        async def call() -> Any:
            return await self.redis.publish(self.channel_of_database(channel), message)

        await self._retried(call, max_retry_seconds=0)

    async def _retried(self, call: Callable[[], Awaitable[T]], *, max_retry_seconds: float | None = None) -> T:
        seconds = self._max_retry_seconds if max_retry_seconds is None else max_retry_seconds
        try:
            return await with_retries(call, url=self._url, max_retry_seconds=seconds)
        except PublishError as exc:
            raise registry_error(exc) from exc

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self.redis)

    async def __aenter__(self) -> Self:
        """Return the store; it connects at the first call."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()


def _number(text: bytes | None) -> int:
    """-1 where it is none."""
    return int(text) if text is not None and text.isdigit() else -1


def registry_error(exc: PublishError) -> RegistryError:
    """Translate an error of the Redis connection, which speaks of a sink, to one of the registry."""
    return (RegistryUnavailableError if exc.retryable else RegistryError)(exc.message)


def text_pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """Convert `[name, value, name, value …]`, as scripts return hashes, to a dictionary."""
    return {flat[index].decode(): flat[index + 1].decode() for index in range(0, len(flat), 2)}
