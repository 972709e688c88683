"""Reads events back from Redis Streams: one stream, several or all, from now, from the start, an id or a time."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, Self, TypeVar, cast

from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.errors import ConfigError, EventRejectedError
from emostream.publish.loop_thread import LoopThread
from emostream.publish.redis.connection import close_redis, open_redis, with_retries
from emostream.publish.redis.reads import RawEntry, event_stream_keys, find_unknown, ids_from, read_streams
from emostream.wire.events import decode_event, decode_status
from emostream.wire.keys import STATUS_KEY, events_key

T = TypeVar("T")

Start = Literal["now", "start"] | str | datetime
"""Where reading begins: only what comes from now on, the oldest entry kept, after an entry id, or a capture time."""

logger = logging.getLogger(__name__)

_FIRST_ID = "0-0"
_MAX_SEQUENCE = (1 << 64) - 1
_MAX_ENTRIES_PER_READ = 256
_BLOCK_SECONDS = 0.5  # how long one read waits; also how soon new streams and the end of following are noticed
_DISCOVER_SECONDS = 1.0
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event and where it stands.

    Attributes:
        key: the event stream.
        entry_id: its id there; give it as `start` to go on after it.
        event: what it says.
    """

    key: str
    entry_id: str
    event: EmotionEvent | StatusEvent


class Timeouts(Protocol):
    """The settings of a reader; `PublishSettings` has them."""

    @property
    def connect_timeout_seconds(self) -> float:
        """For connecting and for answers; more than 0."""
        ...

    @property
    def max_retry_seconds(self) -> float:
        """How long a lost connection is tried again."""
        ...


class RedisReader:
    """Iterates over entries, oldest first within each stream; asynchronously, or with `iterate` from plain code.

    Following never ends by itself; without it, reading ends with the last entry. Entries that are no events are counted
    in `num_rejected` and left out. While the server is away it is tried again for `max_retry_seconds`, and reading goes
    on where it was.
    """

    def __init__(
        self,
        settings: Timeouts,
        *,
        redis_url: str,
        stream_ids: str | Sequence[str] | None = None,
        start: Start | None = None,
        follow: bool = True,
        with_status: bool = False,
        expect_streams: bool = False,
    ) -> None:
        """Connects at the first read.

        Args:
            settings: time-outs.
            redis_url: the server, servers behind Sentinels, or a cluster.
            stream_ids: what to read: one id or several; None means all streams, also those that appear later. An empty
                list reads status events alone, if `with_status`.
            start: where to begin; None is "now" when following, else "start".
            follow: wait for more at the end.
            with_status: read status events, too.
            expect_streams: the named streams should have events: where one has none, reading fails, or warns in the
                log when following.

        Raises:
            ConfigError: the URL is not one of Redis, or `start` or `stream_ids` is not understood.
        """
        self.num_rejected = 0
        self._url = redis_url
        self._max_retry_seconds = settings.max_retry_seconds
        timeout = settings.connect_timeout_seconds
        self._redis = open_redis(redis_url, timeout_seconds=timeout, answer_timeout_seconds=timeout + _BLOCK_SECONDS)
        self._stream_ids = [] if with_status and stream_ids == [] else ids_from(stream_ids)
        self._first_id = id_from_start(start or ("now" if follow else "start"))
        self._follow = follow
        self._with_status = with_status
        self._expect_streams = expect_streams
        self._last_ids: dict[str, str] = {}
        self._discovered_at: float | None = None

    async def batches(self) -> AsyncIterator[list[EventEntry]]:
        """Entries as they arrive, several at once.

        Raises:
            SinkUnavailableError: the server cannot be reached, or stayed away.
            ConfigError: the login was refused.
            UnknownEventStreamError: a named stream has no events (`expect_streams`).
        """
        if self._expect_streams and self._stream_ids is not None:
            await self._check_streams(self._stream_ids)
        while True:
            await self._retrying(self._discover)
            entries = await self._retrying(self._read)
            if entries:
                yield self._decode(entries)
            elif not self._follow:
                return

    async def __aiter__(self) -> AsyncIterator[EventEntry]:
        """Entries one by one; errors as in `batches`."""
        async for batch in self.batches():
            for entry in batch:
                yield entry

    def iterate(self) -> Iterator[EventEntry]:
        """Entries one by one, by a plain `for`, also where an event loop runs; errors as in `batches`. Closes."""
        thread = LoopThread("emostream-events")
        batches = self.batches()
        try:
            while (batch := thread.run(_next(batches))) is not None:
                yield from batch
        finally:
            thread.close(self.close())

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._redis)

    async def __aenter__(self) -> Self:
        """Nothing to do."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()

    async def _check_streams(self, stream_ids: Sequence[str]) -> None:
        unknown = await self._retrying(lambda: find_unknown(self._redis, stream_ids))
        if unknown is not None and not self._follow:
            raise unknown
        if unknown is not None:
            logger.warning("%s; waiting for events", unknown)

    async def _discover(self) -> None:
        """Find event streams that are not read yet."""
        now = time.monotonic()
        is_first = self._discovered_at is None
        if self._discovered_at is not None and now - self._discovered_at < _DISCOVER_SECONDS:
            return
        for key in await self._wanted_keys():
            if key not in self._last_ids:
                self._last_ids[key] = await self._id_before_first(key, is_new=not is_first)
        self._discovered_at = now

    async def _wanted_keys(self) -> list[str]:
        keys = [STATUS_KEY] if self._with_status else []
        if self._stream_ids is not None:
            return keys + [events_key(stream_id) for stream_id in self._stream_ids]
        return keys + await event_stream_keys(self._redis, known=self._last_ids)

    async def _id_before_first(self, key: str, *, is_new: bool) -> str:
        if self._first_id is not None:
            return self._first_id
        if is_new:  # it did not exist when reading began, so all of it came since
            return _FIRST_ID
        last = cast(list[tuple[bytes, object]], await self._redis.xrevrange(key, count=1))
        return last[0][0].decode() if last else _FIRST_ID

    async def _read(self) -> list[RawEntry]:
        """The next entries; empty when there are none (yet)."""
        if not self._last_ids:
            await asyncio.sleep(_BLOCK_SECONDS if self._follow else 0)
            return []
        block_seconds = _BLOCK_SECONDS if self._follow else 0
        entries = await read_streams(
            self._redis, self._last_ids, count=_MAX_ENTRIES_PER_READ, block_seconds=block_seconds
        )
        self._last_ids.update({key: entry_id for key, entry_id, _ in entries})
        return entries

    def _decode(self, entries: list[RawEntry]) -> list[EventEntry]:
        decoded = []
        for key, entry_id, fields in entries:
            try:
                event = decode_status(fields) if key == STATUS_KEY else decode_event(fields)
            except EventRejectedError as exc:
                self.num_rejected += 1
                logger.warning("entry %s of %s is left out: %s", entry_id, key, exc)
            else:
                decoded.append(EventEntry(key, entry_id, event))
        return decoded

    async def _retrying(self, command: Callable[[], Awaitable[T]]) -> T:
        return await with_retries(command, url=self._url, max_retry_seconds=self._max_retry_seconds)


async def _next(batches: AsyncIterator[list[EventEntry]]) -> list[EventEntry] | None:
    return await anext(batches, None)


def id_from_start(start: Start) -> str | None:
    """The id after which reading begins; None means the last one of each event stream."""
    if start == "now":
        return None
    if start == "start":
        return _FIRST_ID
    if isinstance(start, datetime):
        before_ms = (start - _EPOCH_START) // timedelta(milliseconds=1) - 1
        return f"{before_ms}-{_MAX_SEQUENCE}" if before_ms >= 0 else _FIRST_ID
    if not re.fullmatch(r"[0-9]{1,19}(-[0-9]{1,19})?", start):
        raise ConfigError(
            f"start {start!r} is not understood; expected now, start, a time or an entry id like 1700000000000-5"
        )
    return start
