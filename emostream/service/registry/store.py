"""The registry's keys in Redis, its scripts, and calls that survive a server that is away for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, Self, TypeVar, cast

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from emostream.config import PublishSettings
from emostream.errors import PublishError, RegistryError, RegistryUnavailableError
from emostream.publish.redis.bounded_script import BoundedScript
from emostream.publish.redis.connection import close_redis, open_redis, with_retries
from emostream.publish.redis.fence import Fence
from emostream.wire.keys import events_key, registry_key

RECORDS = registry_key("records")
"""Hash: stream id → JSON of what is wanted, with the URL as given."""
FINISHED = registry_key("finished")
"""Hash: stream id → final state of streams that need no work any more."""
REPORTS = registry_key("reports")
"""Hash: stream id → JSON of what its owner saw last."""
LEASES = registry_key("leases")
"""Hash: stream id → `worker epoch`, also when it ran out. Beside it, per worker, `leases:ID`: a set of its streams."""
LEASE_ENDS = registry_key("lease-ends")
"""Sorted set: streams with a valid lease, by when it runs out, in ms."""
WORKERS = registry_key("workers")
"""Hash: worker id → `max_streams num_streams is_draining`."""
WORKER_ENDS = registry_key("worker-ends")
"""Sorted set: workers that live, by when they are given up, in ms."""
REVISION = registry_key("revision")
"""The version: grows with each change of a record, of a stream's state or of a worker."""
CHANGES = registry_key("changes")
"""Sorted set: what changed (`r` or `s` and a stream id, `w` and a worker id), by the version it changed in last."""
GONE = registry_key("gone")
"""Sorted set: those of `CHANGES` that are not there any more, a limited number of them."""
FLOOR = registry_key("floor")
"""The version up to which it was forgotten what is gone."""
EPOCH = registry_key("epoch")
"""The last fencing token given out."""
HELPERS = registry_key("helpers")
"""Sorted set: processes that own no stream and have figures to show (shared classifiers), by when they said so last."""
OPENINGS = registry_key("attempts")
"""Hash: stream that is being opened → JSON: by which worker, on which host, and where workers died of it before."""
VERDICTS = registry_key("verdicts")
"""Hash: stream → JSON: worker that could not run it → why (`verdicts.py`)."""
HOSTS = registry_key("hosts")
"""Hash: worker that lives → name of its host, known since it opened its first stream."""
VIEWERS = registry_key("viewers")
"""Hash: channel of a preview → until when somebody looks at it, in ms."""
GENERATION = registry_key("generation")
"""A random name that changes only when the server lost its data."""
JOBS = registry_key("jobs")
"""Hash: job id → JSON. Beside it, per job: `jobs:todo:ID` (records that wait), `jobs:active:ID` (streams in the
registry), `jobs:urls:ID` (their files), `jobs:results:ID` (what became of the others), `jobs:sums:ID`."""

# In the order in which registry.lua names them.
_SCRIPT_KEYS = (
    *(RECORDS, FINISHED, REPORTS, LEASES, LEASE_ENDS, WORKERS, WORKER_ENDS, REVISION, CHANGES, GONE, FLOOR, EPOCH),
    *(GENERATION, VIEWERS, JOBS, OPENINGS, VERDICTS, HOSTS),
)
_SCRIPTS = files("emostream.service.registry").joinpath("scripts")

# A full server runs all others: what they write is little, and without it streams would lose their workers.
_REFUSED_WHEN_FULL = frozenset({"jobs_put"})

# Which figures are shown is decided by how long those are kept.
_HELPER_SECONDS = 3600

T = TypeVar("T")


class RegistryStore:
    """One connection to the registry's server.

    Args:
        settings: time-outs and how long to try again.
        redis_url: the server.
        max_retry_seconds: overrides the settings; heartbeats try once and come again by themselves.
    """

    def __init__(self, settings: PublishSettings, *, redis_url: str, max_retry_seconds: float | None = None) -> None:
        self._url = redis_url
        self.max_idle_seconds = settings.max_idle_seconds
        """After so long finished jobs are forgotten; None keeps them."""
        self._max_retry_seconds = settings.max_retry_seconds if max_retry_seconds is None else max_retry_seconds
        self.redis: Redis = open_redis(redis_url, timeout_seconds=settings.connect_timeout_seconds)
        self._fence = Fence(self.redis)
        self._scripts: dict[str, AsyncScript | BoundedScript] = {}

    async def run(self, script: str, arguments: Sequence[str | int]) -> Any:
        """Run one of the package's scripts, each with `registry.lua` before it.

        Raises:
            RegistryUnavailableError: the server cannot be reached, or stayed away.
            RegistryError: the server refused the command.
            ConfigError: the login was refused.
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
        """All fields of a hash; errors as in `run`."""

        async def call() -> dict[bytes, bytes]:
            return await cast("Awaitable[dict[bytes, bytes]]", self.redis.hgetall(key))

        found = await self._retried(call)
        return {name.decode(): value for name, value in found.items()}

    async def field_of(self, key: str, field: str) -> bytes | None:
        """One field of a hash; errors as in `run`."""

        async def call() -> bytes | None:
            return await cast("Awaitable[bytes | None]", self.redis.hget(key, field))

        return await self._retried(call)

    async def put_field(self, key: str, field: str, text: str) -> None:
        """Set one field of a hash; errors as in `run`."""

        await self.run("put_field", [key, field, text])

    async def drop_field(self, key: str, field: str) -> None:
        """Take one field out of a hash; errors as in `run`."""

        async def call() -> Any:
            return await self.redis.hdel(key, field)

        await self._retried(call)

    async def put(self, key: str, text: str, *, seconds: int) -> None:
        """Keep a text for so long; errors as in `run`."""

        await self.run("put_text", [key, text, seconds])

    async def note_helper(self, process_id: str) -> None:
        """Say that a process that owns no stream has figures to show; errors as in `run`."""
        await self.run("note_helper", [HELPERS, process_id, _HELPER_SECONDS])

    async def helpers(self) -> list[str]:
        """Processes that said so lately; errors as in `run`."""

        async def call() -> list[bytes]:
            return await cast("Awaitable[list[bytes]]", self.redis.zrange(HELPERS, 0, -1))

        found = await self._retried(call)
        return [process_id.decode() for process_id in found]

    async def values_of(self, keys: Sequence[str]) -> list[bytes | None]:
        """The texts of several keys, None where there is none; errors as in `run`."""
        if not keys:
            return []

        async def call() -> list[bytes | None]:
            return await cast("Awaitable[list[bytes | None]]", self.redis.mget(keys))

        return await self._retried(call)

    async def last_event_before(self, epoch: int, *, stream_id: str) -> tuple[int, int] | None:
        """Epoch and frame index of the last event of a stream; errors as in `run`.

        Runs before this epoch can publish no more from here on, so what is the last event stays it.
        """

        async def call() -> Any:
            await self._fence.raise_to(epoch, stream_id=stream_id)
            return await self.redis.xrevrange(events_key(stream_id), count=1)

        entries = await self._retried(call)
        if not entries:
            return None
        fields = entries[0][1]
        return int(fields[b"epoch"]), int(fields[b"frame_index"])

    async def publish(self, channel: str, message: bytes) -> None:
        """Hand a message to whoever listens now; errors as in `run`. Redis keeps nothing of it."""

        async def call() -> Any:
            return await self.redis.publish(channel, message)

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
        """Nothing to do."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()


def registry_error(exc: PublishError) -> RegistryError:
    """What the connection to Redis says of a sink, said of the registry."""
    return (RegistryUnavailableError if exc.retryable else RegistryError)(exc.message)


def text_pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """`[name, value, name, value …]` as the server sends hashes out of scripts → a dictionary."""
    return {flat[index].decode(): flat[index + 1].decode() for index in range(0, len(flat), 2)}
