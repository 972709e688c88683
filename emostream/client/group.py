"""Share streams between programs: each event goes to one of them, and to another one if that crashes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Self

from emostream.client.group_commands import Entry, Fields, GroupCommands, is_group_missing
from emostream.domain.event import EmotionEvent
from emostream.errors import ConfigError, EventRejectedError
from emostream.publish.loop_thread import LoopThread
from emostream.publish.redis.reader import Start, id_from_start
from emostream.publish.redis.reads import ids_from
from emostream.wire.events import decode_event
from emostream.wire.keys import events_key

logger = logging.getLogger(__name__)

_BLOCK_SECONDS = 0.5  # how long one read waits; also how soon new streams and abandoned entries are noticed
_DISCOVER_SECONDS = 1.0
_FIRST_TIME: Mapping[str, int] = MappingProxyType({})  # deliveries of entries that are new to the group


class ConsumerGroup:
    """One consumer of a group. Groups are made on the streams as they are found.

    Every event is delivered to one consumer of the group, which holds it until `ack`. Events that are not acknowledged
    are delivered again when the consumer comes back under the same name, or after `claim_after_seconds` to another
    consumer. After `max_deliveries` deliveries an event is moved to the dead letters (`emostream:dead:{group}`), as are
    entries that are no events, so that neither blocks the group. While this object lives, no event is delivered twice
    and those of a stream come in order, also when connections break or the server restarts with its data. After a
    crash of the consumer, and after a failover to a replica that had not received the last acknowledgements, events may
    come again: `RepeatFilter` recognises them.

    Use as an async context manager and iterate; one loop at a time.

    Args:
        redis_url: of a server, servers behind Sentinels, or a cluster (docs/events.md has the forms).
        group: name of the group.
        consumer: name of this consumer, the same after a restart; None is host and process id.
        streams: an id or several; None means all, new ones as they appear. One without events is a warning in the log.
        start: where a group begins that does not exist yet on a stream: "start", "now", after an entry id, or a time.
        claim_after_seconds: an event that is not acknowledged for this long is abandoned.
        max_deliveries: deliveries of an event before it becomes a dead letter.
        batch_size: largest number of events that are fetched at once.
        connect_timeout_seconds: as in `EmotionEvents`.
        max_retry_seconds: as in `EmotionEvents`.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        group: str,
        consumer: str | None = None,
        streams: str | Sequence[str] | None = None,
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
        self._group = group
        self._streams = ids_from(streams)
        self._first_id = id_from_start(start) or "$"
        self._claim_after_ms = int(1000 * claim_after_seconds)
        self._max_deliveries = max_deliveries
        self._commands = GroupCommands(
            redis_url,
            group=group,
            consumer=consumer or f"{socket.gethostname()}-{os.getpid()}",
            connect_timeout_seconds=connect_timeout_seconds,
            max_retry_seconds=max_retry_seconds,
            block_seconds=_BLOCK_SECONDS,
            batch_size=batch_size,
        )
        self._keys: list[str] = []
        self._resuming: dict[str, str] = {}  # key → id after which own unacknowledged entries are read again
        self._resumed: set[str] = set()  # keys of which all that was left by an earlier consumer of this name was read
        self._held: dict[str, set[str]] = defaultdict(set)  # key → ids given out and not acknowledged
        self._rest: deque[Delivery] = deque()  # fetched for a loop that ended
        self._discovered_at = -_DISCOVER_SECONDS
        self._is_checked = False  # whether the named streams were looked for
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
                if not is_group_missing(exc):
                    raise
                self._forget_streams(await self._commands.without_group(self._keys, exc))
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
        """Acknowledge handled events; one call for several costs one round trip per stream."""
        by_key: dict[str, list[str]] = defaultdict(list)
        for delivery in deliveries:
            by_key[delivery.key].append(delivery.entry_id)
        for key, ids in by_key.items():
            await self._commands.acknowledge(key, ids)
            self._held[key].difference_update(ids)
            self.stats.num_acknowledged += len(ids)

    async def close(self) -> None:
        """Close the connections. What is not acknowledged stays this consumer's."""
        await self._commands.close()

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
            await self._discover()
            self._discovered_at = now
        if now - self._claimed_at >= self._claim_after_ms / 2000:
            self._claimed_at = now
            claimed = [delivery for key in self._keys for delivery in await self._claim(key)]
            if claimed:
                return claimed
        return await self._read()

    async def _discover(self) -> None:
        """Find streams, make the group where it is missing, and begin with what this consumer left unacknowledged."""
        if self._streams is not None and not self._is_checked:
            if (unknown := await self._commands.find_unknown(self._streams)) is not None:
                logger.warning("%s; waiting for events", unknown)
            self._is_checked = True
        known = set(self._keys)
        for key in await self._wanted_keys():
            if key not in known:
                await self._commands.make_group(key, first_id=self._first_id)
                self._keys.append(key)
                self._resuming[key] = "0"
        self._first_id = "0" if self._first_id == "$" else self._first_id  # all of a later stream came since

    def _forget_streams(self, keys: Iterable[str]) -> None:
        """Of these streams the group, or all of the stream, is gone; it is made again when they are found again."""
        for key in keys:
            self._keys.remove(key)
            self._resuming.pop(key, None)
            self._held.pop(key, None)
            self._resumed.discard(key)
        self._discovered_at = -_DISCOVER_SECONDS

    async def _wanted_keys(self) -> list[str]:
        if self._streams is not None:
            return [events_key(stream_id) for stream_id in self._streams]
        return await self._commands.event_stream_keys(known=set(self._keys))

    async def _read(self) -> list[Delivery]:
        if not self._keys:
            await asyncio.sleep(_BLOCK_SECONDS)
            return []
        for key in list(self._resuming):
            if resumed := await self._resume(key):
                return resumed
        return await self._read_new()

    async def _read_new(self) -> list[Delivery]:
        entries = await self._commands.read_new(
            self._keys, is_unsure=lambda: bool(self._resuming), on_retry=self._resume_all
        )
        deliveries: list[Delivery] = []
        for key, of_key in groupby(entries, key=itemgetter(0)):
            found = [(entry_id, fields or None) for _, entry_id, fields in of_key]
            deliveries += await self._deliver(key, found, _FIRST_TIME)
        return deliveries

    def _resume_all(self) -> None:
        self._resuming = dict.fromkeys(self._keys, "0")

    async def _resume(self, key: str) -> list[Delivery]:
        """This consumer's own unacknowledged entries, but for those that it holds."""
        while (after := self._resuming.get(key)) is not None:
            pending = await self._commands.own_pending(key, after=after)
            if not pending:
                del self._resuming[key]
                self._resumed.add(key)
                return []
            ids = [entry_id for entry_id in pending if entry_id not in self._held[key]]
            if key in self._resumed:  # of this object's own life: an answer that was lost gave nothing out
                entries = await self._commands.read_again(key, ids)
            else:
                entries = await self._commands.give_out_again(key, ids)
                pending = {entry_id: count + 1 for entry_id, count in pending.items()}
            deliveries = await self._deliver(key, entries, pending)
            self._resuming[key] = next(reversed(pending))
            if deliveries:
                return deliveries
        return []

    async def _claim(self, key: str) -> list[Delivery]:
        """Entries that another consumer abandoned."""
        entries, counts = await self._commands.claim(key, idle_ms=self._claim_after_ms)
        self.stats.num_claimed += len(entries)
        return await self._deliver(key, entries, counts)

    async def _deliver(self, key: str, entries: Sequence[Entry], counts: Mapping[str, int]) -> list[Delivery]:
        deliveries = []
        held = self._held[key]
        for entry_id, fields in entries:
            if entry_id in held:
                continue
            if not fields:  # trimmed while it waited
                self.stats.num_trimmed += 1
                await self._commands.acknowledge(key, [entry_id])
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

    async def _bury(self, key: str, entry_id: str, fields: Fields, *, reason: str) -> None:
        self.stats.num_dead += 1
        logger.warning("entry %s of %s goes to the dead letters of group %s: %s", entry_id, key, self._group, reason)
        await self._commands.bury(key, entry_id, fields, reason=reason)


class BlockingConsumerGroup:
    """`ConsumerGroup` for plain code and notebooks: a context manager to iterate over, with `ack`. Arguments alike."""

    def __init__(self, redis_url: str, **arguments: Any) -> None:
        self._group = ConsumerGroup(redis_url, **arguments)
        self._thread = LoopThread("emostream-group")

    @property
    def stats(self) -> GroupStats:
        """Counted while it runs."""
        return self._group.stats

    def __iter__(self) -> Iterator[Delivery]:
        """Events one by one, as `ConsumerGroup` gives them; errors as in `ConsumerGroup.batches`."""
        batches = self._group.batches()
        while True:
            self._group.put_back(self._thread.run(anext(batches)))  # type: ignore[arg-type]
            yield from self._group.take_rest()

    def ack(self, *deliveries: Delivery) -> None:
        """Acknowledge handled events."""
        self._thread.run(self._group.ack(*deliveries))

    def __enter__(self) -> Self:
        """Nothing to do: it connects at the first read."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the connections."""
        self._thread.close(self._group.close())


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
