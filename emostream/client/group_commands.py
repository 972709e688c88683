"""The commands of one consumer of a group, each tried again while the server is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from emostream.errors import EventRejectedError, UnknownEventStreamError
from emostream.publish.redis.connection import REDIS_ERRORS, close_redis, is_full, is_missing, open_redis, with_retries
from emostream.publish.redis.reads import RawEntry, entries_by_id, event_stream_keys, find_unknown, read_streams
from emostream.wire.keys import dead_letter_key

T = TypeVar("T")
Fields = dict[bytes, bytes]
Entry = tuple[str, Fields | None]
"""(entry id, fields); no fields where the entry was trimmed."""

_MAX_DEAD_LETTERS = 10_000
_BEFORE_ALL = "0"


class GroupCommands:
    """Sends the commands; what was delivered is the business of `ConsumerGroup`.

    Args:
        redis_url: see `open_redis`.
        group, consumer: names.
        connect_timeout_seconds, max_retry_seconds: as in `EmotionEvents`.
        block_seconds: how long `read_new` waits.
        batch_size: largest number of entries per read.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        group: str,
        consumer: str,
        connect_timeout_seconds: float,
        max_retry_seconds: float,
        block_seconds: float,
        batch_size: int,
    ) -> None:
        self._url = redis_url
        self._group = group
        self._consumer = consumer
        self._max_retry_seconds = max_retry_seconds
        self._block_seconds = block_seconds
        self._batch_size = batch_size
        self._redis = open_redis(
            redis_url,
            timeout_seconds=connect_timeout_seconds,
            answer_timeout_seconds=connect_timeout_seconds + block_seconds,
        )

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._redis)

    async def event_stream_keys(self, *, known: Collection[str]) -> list[str]:
        """The event streams there are now; see there."""
        return await self._retrying(lambda: event_stream_keys(self._redis, known=known))

    async def find_unknown(self, stream_ids: Sequence[str]) -> UnknownEventStreamError | None:
        """Which of these streams have no events."""
        return await self._retrying(lambda: find_unknown(self._redis, stream_ids))

    async def make_group(self, key: str, *, first_id: str) -> None:
        """Make the group on a stream, and the stream, where they are missing."""

        async def make() -> None:
            try:
                await self._redis.xgroup_create(key, self._group, id=first_id, mkstream=True)
            except Exception as exc:
                if "BUSYGROUP" in str(exc):  # it is there already
                    return
                # A server whose memory is used up refuses before it looks whether there is anything to do.
                if not (is_full(exc) and await self._has_group(key)):
                    raise

        await self._retrying(make)

    async def _has_group(self, key: str) -> bool:
        try:
            groups = await self._redis.xinfo_groups(key)
        except REDIS_ERRORS as exc:
            if not is_missing(exc):
                raise
            return False
        return self._group.encode() in [group["name"] for group in groups]

    async def read_new(
        self, keys: Sequence[str], *, is_unsure: Callable[[], bool], on_retry: Callable[[], None]
    ) -> list[RawEntry]:
        """Entries that are new to the group.

        When an answer is lost, its entries are this consumer's all the same: `on_retry` is called, and where
        `is_unsure` is true afterwards nothing is read, because the delivered entries must be read first.
        """
        wanted = dict.fromkeys(keys, ">")

        async def read() -> list[RawEntry]:
            return [] if is_unsure() else await self._read(wanted, block_seconds=self._block_seconds)

        return await self._retrying(read, on_retry=on_retry)

    async def own_pending(self, key: str, *, after: str) -> dict[str, int]:
        """This consumer's own unacknowledged entries of a stream, a page at a time: id → how often it was given out.

        Asking gives nothing out.
        """
        start = "-" if after == _BEFORE_ALL else f"({after}"

        async def ask() -> Any:
            return await self._redis.xpending_range(
                key, self._group, min=start, max="+", count=self._batch_size, consumername=self._consumer
            )

        return {entry["message_id"].decode(): entry["times_delivered"] for entry in await self._retrying(ask)}

    async def read_again(self, key: str, ids: Sequence[str]) -> list[Entry]:
        """Entries by their ids, in order; does not count as giving them out."""
        if not ids:
            return []
        found = await self._retrying(lambda: entries_by_id(self._redis, key, ids))
        return [(entry_id, found.get(entry_id)) for entry_id in ids]

    async def give_out_again(self, key: str, ids: Sequence[str]) -> list[Entry]:
        """This consumer's own entries of an earlier life, in order; counts as giving them out once more."""
        if not ids:
            return []

        async def take() -> Any:
            return await self._redis.xclaim(key, self._group, self._consumer, 0, list(ids))

        found = {entry_id.decode(): fields for entry_id, fields in await self._retrying(take) if entry_id is not None}
        return [(entry_id, found.get(entry_id)) for entry_id in ids]

    async def claim(self, key: str, *, idle_ms: int) -> tuple[list[Entry], dict[str, int]]:
        """Take over entries that other consumers abandoned.

        Not this consumer's own: claiming them would count as giving them out once more.

        Returns:
            The entries, and how often each was given out, this time included.
        """
        abandoned = await self._retrying(lambda: self._abandoned(key, idle_ms=idle_ms))
        if not abandoned:
            return [], {}

        async def take() -> Any:
            return await self._redis.xclaim(key, self._group, self._consumer, idle_ms, list(abandoned))

        reply = await self._retrying(take)
        entries = [(entry_id.decode(), fields) for entry_id, fields in reply if entry_id is not None]
        return entries, {entry_id: abandoned[entry_id] + 1 for entry_id, _ in entries}

    async def _abandoned(self, key: str, *, idle_ms: int) -> dict[str, int]:
        """Entry id → how often it was given out, of entries that other consumers have held for `idle_ms`."""
        start = "-"
        while True:
            page: Any = await self._redis.xpending_range(
                key, self._group, min=start, max="+", count=self._batch_size, idle=idle_ms
            )
            found = {
                entry["message_id"].decode(): entry["times_delivered"]
                for entry in page
                if entry["consumer"] != self._consumer.encode()
            }
            if found or len(page) < self._batch_size:
                return found
            start = f"({page[-1]['message_id'].decode()}"

    async def without_group(self, keys: Sequence[str], exc: EventRejectedError) -> list[str]:
        """Which of the streams the group is missing on, after an error that says that it is missing on one."""
        named = [key for key in keys if f"'{key}'" in str(exc)]
        return [key for key in named or keys if not await self._retrying(partial(self._has_group, key))]

    async def acknowledge(self, key: str, ids: Sequence[str]) -> None:
        """Take entries off this consumer's list."""
        await self._retrying(lambda: self._redis.xack(key, self._group, *ids))

    async def bury(self, key: str, entry_id: str, fields: Fields, *, reason: str) -> None:
        """Move an entry to the dead letters; after a crash in between it may be there twice."""
        letter: Any = {**fields, b"dead_key": key, b"dead_id": entry_id, b"dead_reason": reason}
        await self._retrying(
            lambda: self._redis.xadd(dead_letter_key(self._group), letter, maxlen=_MAX_DEAD_LETTERS, approximate=True)
        )
        await self.acknowledge(key, [entry_id])

    async def _read(self, wanted: Mapping[str, str], *, block_seconds: float) -> list[RawEntry]:
        return await read_streams(
            self._redis,
            wanted,
            count=self._batch_size,
            block_seconds=block_seconds,
            group=(self._group, self._consumer),
        )

    async def _retrying(self, command: Callable[[], Awaitable[T]], *, on_retry: Callable[[], None] | None = None) -> T:
        return await with_retries(
            command,
            url=self._url,
            max_retry_seconds=self._max_retry_seconds,
            on_retry=on_retry or (lambda: None),
        )


def is_group_missing(exc: EventRejectedError) -> bool:
    """Whether the server does not know the group: its data were lost, or the group was removed."""
    return "NOGROUP" in str(exc)
