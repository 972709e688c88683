"""Share streams between programs: each event goes to one of them, and to another one if that crashes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from emostream.errors import ConfigError, EventRejectedError
from emostream.event import EmotionEvent
from emostream.publish.keys import EVENTS_PATTERN, dead_letter_key, events_key
from emostream.publish.redis_connection import open_redis, with_retries
from emostream.publish.redis_reader import Start, id_from_start
from emostream.publish.wire import decode_event

T = TypeVar("T")
_Fields = dict[bytes, bytes]

logger = logging.getLogger(__name__)

_BLOCK_SECONDS = 0.5  # how long one read waits; also how soon new streams and abandoned entries are noticed
_DISCOVER_SECONDS = 1.0
_MAX_DEAD_LETTERS = 10_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that is this consumer's to handle, until it is acknowledged.

    Attributes:
        key: the event stream.
        entry_id: its id there.
        event: what it says.
        num_deliveries: 1 for the first time; more when a consumer had it before and did not acknowledge it.
    """

    key: str
    entry_id: str
    event: EmotionEvent
    num_deliveries: int = 1


@dataclass(slots=True)
class GroupStats:
    """Counted while it runs.

    Attributes:
        num_delivered: events given out.
        num_acknowledged: events acknowledged.
        num_claimed: events taken over from a consumer that abandoned them.
        num_dead: entries moved to the dead letters: given out too often, or no events at all.
        num_trimmed: entries that were trimmed before they could be handled.
    """

    num_delivered: int = 0
    num_acknowledged: int = 0
    num_claimed: int = 0
    num_dead: int = 0
    num_trimmed: int = 0


class ConsumerGroup:
    """One consumer of a group. Groups are made on the streams as they are found.

    Every event goes to one consumer of the group and stays its own until `ack`. What a consumer did not acknowledge it
    is given again when it comes back under the same name, and another consumer is given after `claim_after_seconds`.
    An event that was given out `max_deliveries` times without success is moved to the dead letters
    (`emostream:dead:{group}`), as are entries that are no events, so that neither blocks the group. While this object
    lives, no event is given out twice and those of a stream come in order, also when connections break or the server
    restarts; after a crash events may come again: `RepeatFilter` tells.

    Use as an async context manager and iterate; one loop at a time.

    Args:
        redis_url: `redis://`, `rediss://` (TLS) or `unix://`.
        group: name of the group.
        consumer: name of this consumer, the same after a restart; None is host and process id.
        streams: ids; None means all, new ones as they appear.
        start: where a group begins that does not exist yet on a stream: "start", "now", after an entry id, or a time.
        claim_after_seconds: an event that is not acknowledged for this long is abandoned.
        max_deliveries: so often an event is given out before it becomes a dead letter.
        batch_size: at most so many events are fetched at once.
        connect_timeout_seconds, max_retry_seconds: as in `EmotionEvents`.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        group: str,
        consumer: str | None = None,
        streams: Sequence[str] | None = None,
        start: Start = "start",
        claim_after_seconds: float = 30.0,
        max_deliveries: int = 5,
        batch_size: int = 512,
        connect_timeout_seconds: float = 5.0,
        max_retry_seconds: float = 30.0,
    ) -> None:
        if not group or max_deliveries < 1 or batch_size < 1:
            raise ConfigError("a consumer group needs a name, and max_deliveries and batch_size of at least 1")
        self.stats = GroupStats()
        self._url = redis_url
        self._group = group
        self._consumer = consumer or f"{socket.gethostname()}-{os.getpid()}"
        self._streams = streams
        self._first_id = id_from_start(start) or "$"
        self._claim_after_ms = int(1000 * claim_after_seconds)
        self._max_deliveries = max_deliveries
        self._batch_size = batch_size
        self._max_retry_seconds = max_retry_seconds
        self._redis = open_redis(
            redis_url,
            timeout_seconds=connect_timeout_seconds,
            answer_timeout_seconds=connect_timeout_seconds + _BLOCK_SECONDS,
        )
        self._keys: list[str] = []
        self._resuming: dict[str, str] = {}  # key → id after which own unacknowledged entries are read again
        self._held: dict[str, set[str]] = defaultdict(set)  # key → ids given out and not acknowledged
        self._rest: deque[Delivery] = deque()  # fetched for a loop that ended
        self._discovered_at = -_DISCOVER_SECONDS
        self._claimed_at = time.monotonic()

    async def batches(self) -> AsyncIterator[list[Delivery]]:
        """Events as they arrive, several at once, those of a stream in order.

        Raises:
            SinkUnavailableError: the server cannot be reached, or stayed away.
            ConfigError: the login was refused.
        """
        while True:
            if self._rest:
                rest = list(self._rest)
                self._rest.clear()
                yield rest
            try:
                deliveries = await self._next_batch()
            except EventRejectedError as exc:
                if "NOGROUP" not in str(exc):
                    raise
                # The server lost its data, or somebody removed the group: find the streams again.
                self._forget_streams()
            except BaseException:  # cancelled, for example: the server may have given out what did not arrive here
                self._resume_all()
                raise
            else:
                if deliveries:
                    self._hold(deliveries)
                    yield deliveries

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        """Events one by one; errors as in `batches`. What is left when a loop ends is what the next one begins with."""
        async for batch in self.batches():
            self._rest.extend(batch)
            while self._rest:
                yield self._rest.popleft()

    async def ack(self, *deliveries: Delivery) -> None:
        """Say that events are handled; all of them at once cost one round trip per stream."""
        by_key: dict[str, list[str]] = defaultdict(list)
        for delivery in deliveries:
            by_key[delivery.key].append(delivery.entry_id)
        for key, ids in by_key.items():
            await self._acknowledge(key, ids)
            self._held[key].difference_update(ids)
            self.stats.num_acknowledged += len(ids)

    async def close(self) -> None:
        """Close the connections. What is not acknowledged stays this consumer's."""
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        """Nothing to do: it connects at the first read."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _next_batch(self) -> list[Delivery]:
        now = time.monotonic()
        if now - self._discovered_at >= _DISCOVER_SECONDS:
            await self._retrying(self._discover)
            self._discovered_at = now
        if now - self._claimed_at >= self._claim_after_ms / 2000:
            self._claimed_at = now
            claimed = [delivery for key in self._keys for delivery in await self._claim_retrying(key)]
            if claimed:
                return claimed
        return await self._read()

    async def _discover(self) -> None:
        """Find streams, make the group where it is missing, and begin with what this consumer left unacknowledged."""
        for key in await self._wanted_keys():
            if key not in self._keys:
                await self._make_group(key)
                self._keys.append(key)
                self._resuming[key] = "0"
        self._first_id = "0" if self._first_id == "$" else self._first_id  # all of a later stream came since

    def _forget_streams(self) -> None:
        self._keys.clear()
        self._resuming.clear()
        self._held.clear()
        self._discovered_at = -_DISCOVER_SECONDS

    async def _wanted_keys(self) -> list[str]:
        if self._streams is not None:
            return [events_key(stream_id) for stream_id in self._streams]
        found = self._redis.scan_iter(EVENTS_PATTERN, count=1000, _type="stream")
        return [key.decode() async for key in found if key.isascii()]

    async def _make_group(self, key: str) -> None:
        try:
            await self._once(lambda: self._redis.xgroup_create(key, self._group, id=self._first_id, mkstream=True))
        except EventRejectedError as exc:
            if "BUSYGROUP" not in str(exc):  # it is there already
                raise

    async def _read(self) -> list[Delivery]:
        if not self._keys:
            await asyncio.sleep(_BLOCK_SECONDS)
            return []
        for key in list(self._resuming):
            if resumed := await self._retrying(lambda key=key: self._resume(key)):  # type: ignore[misc]
                return resumed
        return await self._read_new()

    async def _read_new(self) -> list[Delivery]:
        """Entries nobody was given yet. When the answer is lost, they are this consumer's all the same: read again."""
        wanted: Any = dict.fromkeys(self._keys, ">")

        async def read() -> list[tuple[bytes, list[tuple[bytes, _Fields]]]] | None:
            if self._resuming:
                return None
            return await self._redis.xreadgroup(  # type: ignore[return-value]
                self._group, self._consumer, wanted, count=self._batch_size, block=int(1000 * _BLOCK_SECONDS)
            )

        reply = await with_retries(
            read, url=self._url, max_retry_seconds=self._max_retry_seconds, on_retry=self._resume_all
        )
        deliveries: list[Delivery] = []
        for key, entries in reply or ():
            deliveries += await self._deliver(key.decode(), [(entry.decode(), fields) for entry, fields in entries], {})
        return deliveries

    def _resume_all(self) -> None:
        self._resuming = dict.fromkeys(self._keys, "0")

    async def _resume(self, key: str) -> list[Delivery]:
        """This consumer's own unacknowledged entries, but for those that it holds."""
        while (after := self._resuming.get(key)) is not None:
            wanted: Any = {key: after}
            reply: Any = await self._redis.xreadgroup(self._group, self._consumer, wanted, count=self._batch_size)
            entries = [(entry.decode(), fields) for _, of_key in reply for entry, fields in of_key]
            if not entries:
                del self._resuming[key]
                return []
            counts = await self._num_deliveries(key, [entry_id for entry_id, _ in entries])
            deliveries = await self._deliver(key, entries, counts)
            self._resuming[key] = entries[-1][0]
            if deliveries:
                return deliveries
        return []

    async def _claim_retrying(self, key: str) -> list[Delivery]:
        return await self._retrying(lambda: self._claim(key))

    async def _claim(self, key: str) -> list[Delivery]:
        """Entries that another consumer abandoned."""
        reply: Any = await self._redis.xautoclaim(
            key, self._group, self._consumer, min_idle_time=self._claim_after_ms, count=self._batch_size
        )
        entries = [(entry.decode(), fields) for entry, fields in reply[1] if entry is not None]
        entries = [(entry_id, fields) for entry_id, fields in entries if entry_id not in self._held[key]]
        if len(reply) > 2:
            self.stats.num_trimmed += len(reply[2])
        if not entries:
            return []
        self.stats.num_claimed += len(entries)
        return await self._deliver(key, entries, await self._num_deliveries(key, [entry_id for entry_id, _ in entries]))

    async def _num_deliveries(self, key: str, ids: Sequence[str]) -> dict[str, int]:
        pending: Any = await self._redis.xpending_range(
            key,
            self._group,
            min=ids[0],
            max=ids[-1],
            count=len(ids) + sum(map(len, self._held.values())),
            consumername=self._consumer,
        )
        return {entry["message_id"].decode(): entry["times_delivered"] for entry in pending}

    async def _deliver(
        self, key: str, entries: Sequence[tuple[str, _Fields | None]], counts: dict[str, int]
    ) -> list[Delivery]:
        deliveries = []
        held = self._held[key]
        for entry_id, fields in entries:
            if entry_id in held:
                continue
            if not fields:  # trimmed while it waited
                self.stats.num_trimmed += 1
                await self._acknowledge(key, [entry_id])
                continue
            num_deliveries = counts.get(entry_id, 1)
            if num_deliveries > self._max_deliveries:
                await self._bury(key, entry_id, fields, reason=f"given out {num_deliveries - 1} times")
                continue
            try:
                event = decode_event(fields)
            except EventRejectedError as exc:
                await self._bury(key, entry_id, fields, reason=str(exc))
                continue
            deliveries.append(Delivery(key, entry_id, event, num_deliveries))
        return deliveries

    def _hold(self, deliveries: Sequence[Delivery]) -> None:
        # Not before they are given out: until then a cancellation would lose them.
        for delivery in deliveries:
            self._held[delivery.key].add(delivery.entry_id)
        self.stats.num_delivered += len(deliveries)

    async def _bury(self, key: str, entry_id: str, fields: _Fields, *, reason: str) -> None:
        """Move an entry to the dead letters; after a crash in between it may be there twice."""
        self.stats.num_dead += 1
        logger.warning("entry %s of %s goes to the dead letters of group %s: %s", entry_id, key, self._group, reason)
        letter: Any = {**fields, b"dead_key": key, b"dead_id": entry_id, b"dead_reason": reason}
        await self._retrying(
            lambda: self._redis.xadd(dead_letter_key(self._group), letter, maxlen=_MAX_DEAD_LETTERS, approximate=True)
        )
        await self._acknowledge(key, [entry_id])

    async def _acknowledge(self, key: str, ids: Sequence[str]) -> None:
        await self._retrying(lambda: self._redis.xack(key, self._group, *ids))

    async def _once(self, command: Callable[[], Awaitable[T]]) -> T:
        return await with_retries(command, url=self._url, max_retry_seconds=0)

    async def _retrying(self, command: Callable[[], Awaitable[T]]) -> T:
        return await with_retries(command, url=self._url, max_retry_seconds=self._max_retry_seconds)


class BlockingConsumerGroup:
    """The same for code without an event loop: a context manager to iterate over, with `ack`. Arguments alike."""

    def __init__(self, redis_url: str, **arguments: Any) -> None:
        self._group = ConsumerGroup(redis_url, **arguments)
        self._runner = asyncio.Runner()

    @property
    def stats(self) -> GroupStats:
        """Counted while it runs."""
        return self._group.stats

    def __iter__(self) -> Iterator[Delivery]:
        """Events one by one; errors as in `ConsumerGroup.batches`."""
        batches = self._group.batches()
        rest = self._group._rest
        while True:
            rest.extend(self._runner.run(anext(batches)))  # type: ignore[arg-type]
            while rest:
                yield rest.popleft()

    def ack(self, *deliveries: Delivery) -> None:
        """Say that events are handled."""
        self._runner.run(self._group.ack(*deliveries))

    def __enter__(self) -> Self:
        """Nothing to do: it connects at the first read."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the connections."""
        self._runner.run(self._group.close())
        self._runner.close()
