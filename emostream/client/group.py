"""Share streams between programs: each event goes to one of them, and to another one if that crashes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Self, TypeVar

from emostream.client.delivery import Delivery, GroupStats
from emostream.errors import ConfigError, EventRejectedError
from emostream.publish.keys import dead_letter_key, events_key
from emostream.publish.redis_connection import close_redis, open_redis, with_retries
from emostream.publish.redis_reader import Start, id_from_start
from emostream.publish.stream_reads import RawEntry, event_stream_keys, read_streams
from emostream.publish.wire import decode_event

T = TypeVar("T")
_Fields = dict[bytes, bytes]

logger = logging.getLogger(__name__)

_BLOCK_SECONDS = 0.5  # how long one read waits; also how soon new streams and abandoned entries are noticed
_DISCOVER_SECONDS = 1.0
_MAX_DEAD_LETTERS = 10_000


class ConsumerGroup:
    """One consumer of a group. Groups are made on the streams as they are found.

    Every event goes to one consumer of the group and stays its own until `ack`. What a consumer did not acknowledge it
    is given again when it comes back under the same name, and another consumer is given after `claim_after_seconds`.
    An event that was given out `max_deliveries` times without success is moved to the dead letters
    (`emostream:dead:{group}`), as are entries that are no events, so that neither blocks the group. While this object
    lives, no event is given out twice and those of a stream come in order, also when connections break or the server
    restarts with its data. After a crash of the consumer, and after a failover to a replica that had not heard of the
    last acknowledgements, events may come again: `RepeatFilter` tells.

    Use as an async context manager and iterate; one loop at a time.

    Args:
        redis_url: of a server, servers behind Sentinels, or a cluster (docs/events.md has the forms).
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
                yield list(self.take_rest())
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
            self.put_back(batch)
            for delivery in self.take_rest():
                yield delivery

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Have these given out again, before all others."""
        self._rest.extendleft(reversed(list(deliveries)))

    def take_rest(self) -> Iterator[Delivery]:
        """What was fetched, or put back, and not given out yet, one by one; asks the server for nothing."""
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
        await close_redis(self._redis)

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
        return await event_stream_keys(self._redis)

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
        wanted = dict.fromkeys(self._keys, ">")

        async def read() -> list[RawEntry]:
            if self._resuming:
                return []
            return await read_streams(
                self._redis,
                wanted,
                count=self._batch_size,
                block_seconds=_BLOCK_SECONDS,
                group=(self._group, self._consumer),
            )

        entries = await with_retries(
            read, url=self._url, max_retry_seconds=self._max_retry_seconds, on_retry=self._resume_all
        )
        deliveries: list[Delivery] = []
        for key, of_key in groupby(entries, key=itemgetter(0)):
            deliveries += await self._deliver(key, [(entry_id, fields) for _, entry_id, fields in of_key], {})
        return deliveries

    def _resume_all(self) -> None:
        self._resuming = dict.fromkeys(self._keys, "0")

    async def _resume(self, key: str) -> list[Delivery]:
        """This consumer's own unacknowledged entries, but for those that it holds."""
        while (after := self._resuming.get(key)) is not None:
            found = await read_streams(
                self._redis,
                {key: after},
                count=self._batch_size,
                block_seconds=0,
                group=(self._group, self._consumer),
            )
            entries = [(entry_id, fields) for _, entry_id, fields in found]
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
