"""Keeps the events of all streams together within a part of the server's memory: the oldest of all go first.

Each event stream has bounds of its own; many streams, and those that ended, would fill a server all the same.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from emostream.config import PublishSettings
from emostream.domain.redact import shown_address
from emostream.errors import ConfigError
from emostream.publish.redis.connection import REDIS_ERRORS, is_cluster
from emostream.publish.redis.groups import (
    ServerMemory,
    StoredEvents,
    bytes_for_events,
    cut_for,
    entry_id,
    stored_events,
)
from emostream.publish.redis.reads import node_of, scan_event_stream_keys

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 10.0
_FULL_CHECK_SECONDS = 0.5  # while the server is full, and not of events
_MAX_CHECK_SHARE = 0.01  # of the time: where a server holds a million keys, looking for ours takes longer
_TARGET_SHARE = 0.9  # of the bound: so that not every event trims
_TIGHT_SHARE = 0.8  # of the bound, below what trimming leaves
_FULL_SHARE = 0.95  # of `maxmemory`; events alone never take so much
_KEEPS_ALL = "noeviction"
_NO_LIMIT = (
    "has no limit of its memory: what else it holds may use up the memory of its machine, or of its container; set "
    "`maxmemory`"
)


@dataclass(slots=True)
class EventMemoryStats:
    """Counted while it runs.

    Attributes:
        used_bytes, max_bytes: of the fullest server, at the last look; its bound is that of its machine where it has
            none. 0 before the first.
        num_trimmed: events that were removed before their time.
    """

    used_bytes: int = 0
    max_bytes: int = 0
    num_trimmed: int = 0


@dataclass(frozen=True, slots=True)
class MemoryProblems:
    """What is wrong with a server's memory: sentences for people.

    Attributes:
        errors: data will be lost.
        warnings: events may have to wait.
    """

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class EventMemory:
    """Of one server, or of the primaries of a cluster.

    Args:
        redis: not closed here.
        url: named, redacted, in messages.
        settings: the bounds.
    """

    def __init__(self, redis: Redis, *, url: str, settings: PublishSettings) -> None:
        self._redis = redis
        self._url = shown_address(url)
        self._settings = settings
        self._due_seconds = self._due_when_full_seconds = 0.0
        self._is_looking = False
        self._is_told = False
        self.is_tight = False
        """Whether a stream may lose events before its own bounds are reached."""
        self.stats = EventMemoryStats()

    async def check(self) -> None:
        """Find out early about a server that drops data by itself. Raises what the client raises.

        Raises:
            ConfigError: its eviction policy drops events, or the registry of streams, when its memory is used up.
        """
        try:
            memories = await self._memories()
        except NoPermissionError:  # the server may be right, and a user of few rights is no fault
            return
        for memory in memories:
            if _drops_data(memory):
                raise ConfigError(f"Redis at {self._url} {_about_policy(memory)}")
            if not memory.max_bytes:
                logger.info("Redis at %s %s", self._url, _NO_LIMIT)

    async def find_problems(self) -> MemoryProblems:
        """What is wrong with the server's memory now. Raises what the client raises."""
        try:
            memories = await self._memories()
        except NoPermissionError:
            return MemoryProblems()
        warnings = [_NO_LIMIT for memory in memories if not memory.max_bytes]
        warnings += [
            f"uses {memory.used_bytes / 1e6:.1f} of {memory.max_bytes / 1e6:.1f} MB: soon it takes no new events"
            for memory in memories
            if memory.max_bytes and memory.used_bytes > _FULL_SHARE * memory.max_bytes
        ]
        return MemoryProblems(
            errors=tuple(f"Redis {_about_policy(memory)}" for memory in memories if _drops_data(memory)),
            warnings=tuple(f"Redis {text}" for text in dict.fromkeys(warnings)),
        )

    async def look(self, *, is_full: bool = False) -> int:
        """Remove the oldest events of all streams where all of them take too much. Cheap where nothing is due.

        Args:
            is_full: the server refused an event just now, so it is due.

        Returns:
            How many were removed.
        """
        started = time.monotonic()
        if self._is_looking or started < (self._due_when_full_seconds if is_full else self._due_seconds):
            return 0
        self._is_looking = True
        num_before = self.stats.num_trimmed
        try:
            await self._look()
        except REDIS_ERRORS as exc:  # the next event finds a server that is away, and says so
            self._tell_once(exc)
        finally:
            self._is_looking = False
            now = time.monotonic()
            self._due_seconds = now + max(_CHECK_SECONDS, (now - started) / _MAX_CHECK_SHARE)
            num_trimmed = self.stats.num_trimmed - num_before
            if is_full and not num_trimmed:
                self._due_when_full_seconds = now + _FULL_CHECK_SECONDS
        return num_trimmed

    async def _look(self) -> None:
        fullest, is_tight = EventMemoryStats(), False
        for node in await self._nodes():
            memory = await self._memory_of(node)
            if memory.used_bytes * fullest.max_bytes >= fullest.used_bytes * memory.bound_bytes:
                fullest = EventMemoryStats(memory.used_bytes, memory.bound_bytes)
            # All of the server takes no more than events may: so do they, whatever they take.
            bound = self._bound(memory, event_bytes=memory.used_bytes)
            is_tight |= memory.used_bytes > _TIGHT_SHARE * bound
            if memory.used_bytes > bound:
                await self._trim(node, memory)
        self.is_tight = is_tight
        self.stats.used_bytes, self.stats.max_bytes = fullest.used_bytes, fullest.max_bytes

    def _bound(self, memory: ServerMemory, *, event_bytes: int) -> int:
        return bytes_for_events(
            memory,
            event_bytes=event_bytes,
            max_share=self._settings.max_memory_share,
            max_bytes=self._settings.max_memory_bytes,
        )

    async def _trim(self, node: Any, memory: ServerMemory) -> None:
        now_ms = await self._now_ms(node)
        keys = await self._keys_at(node)
        stored = {key: found for key in keys if (found := await self._stored(key, now_ms=now_ms)) is not None}
        event_bytes = sum(found.num_bytes for found in stored.values())
        bound = self._bound(memory, event_bytes=event_bytes)
        if event_bytes <= bound:
            return
        cut_ms = cut_for(list(stored.values()), event_bytes - round(_TARGET_SHARE * bound))
        num_trimmed = 0
        for key, found in stored.items():
            # The newest entry stays: it shows which events were published already, and where a file goes on.
            oldest_kept_ms = min(cut_ms, found.last_ms) + found.ahead_ms
            while trimmed := int(await self._redis.xtrim(key, minid=oldest_kept_ms, approximate=True)):
                num_trimmed += trimmed
        logger.log(
            logging.DEBUG if self.stats.num_trimmed else logging.WARNING,  # it comes again and again from here on
            "events took %.1f MB of Redis at %s, which has room for %.1f MB of them: the oldest go before their time; "
            "give it more memory, or keep fewer (publish.max_events_per_stream, publish.max_age_seconds)",
            event_bytes / 1e6,
            self._url,
            bound / 1e6,
        )
        self.stats.num_trimmed += num_trimmed

    async def _nodes(self) -> list[Any]:
        """What to ask: the primaries of a cluster, or the one server, which needs no name."""
        client: Any = self._redis
        if not is_cluster(client):
            return [None]
        await client.initialize()
        return list(client.get_primaries())

    async def _memories(self) -> list[ServerMemory]:
        return [await self._memory_of(node) for node in await self._nodes()]

    async def _memory_of(self, node: Any) -> ServerMemory:
        client: Any = self._redis
        where = {} if node is None else {"target_nodes": node}
        info = await client.info("memory", **where)
        return ServerMemory(
            used_bytes=int(info["used_memory"]),
            max_bytes=int(info.get("maxmemory", 0)),
            machine_bytes=int(info.get("total_system_memory", 0)),
            policy=str(info.get("maxmemory_policy", _KEEPS_ALL)),
        )

    async def _now_ms(self, node: Any) -> int:
        client: Any = self._redis
        try:
            seconds, microseconds = await (client.time() if node is None else client.time(target_nodes=node))
        except NoPermissionError:  # our own clock is as good in most cases
            return int(1000 * time.time())
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _keys_at(self, node: Any) -> list[str]:
        keys = await scan_event_stream_keys(self._redis)
        return keys if node is None else [key for key in keys if node_of(self._redis, key) == node]

    async def _stored(self, key: str, *, now_ms: int) -> StoredEvents | None:
        """None where there is nothing to remove."""
        num_bytes = await self._redis.memory_usage(key)
        first: Any = await self._redis.xrange(key, count=1)
        last: Any = await self._redis.xrevrange(key, count=1)
        if not num_bytes or not first or not last:
            return None
        first_ms, last_ms = entry_id(first[0][0])[0], entry_id(last[0][0])[0]
        return stored_events(int(num_bytes), first_ms=first_ms, last_ms=last_ms, now_ms=now_ms)

    def _tell_once(self, exc: Exception) -> None:
        level = logging.DEBUG if self._is_told else logging.WARNING
        self._is_told = True
        logger.log(level, "the memory that events take in Redis at %s is not bounded now: %s", self._url, exc)


def _drops_data(memory: ServerMemory) -> bool:
    return bool(memory.max_bytes) and memory.policy != _KEEPS_ALL


def _about_policy(memory: ServerMemory) -> str:
    return (
        f"drops data by itself when its memory is used up (maxmemory-policy {memory.policy}): events would be lost "
        f"silently, and with them the records of wanted streams; expected {_KEEPS_ALL}: set "
        f"`maxmemory-policy {_KEEPS_ALL}` in its configuration, or `redis-cli CONFIG SET maxmemory-policy {_KEEPS_ALL}`"
    )
