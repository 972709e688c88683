"""Subscribe to events, with `for` or `async for`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import MappingProxyType

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent
from emostream.publish.redis.reader import EventEntry, RedisReader, Start


class EmotionEvents:
    """The emotion events of one stream, several, or all of them, oldest first within each stream.

    Each loop over it is a reading of its own. New streams are picked up as they appear when none are named. Following
    never ends by itself; without it, reading ends with the last event. While the server is away it is tried again for
    `max_retry_seconds`, and reading goes on where it was. Entries that are no events are left out and counted.

    Args:
        redis_url: of a server, servers behind Sentinels, or a cluster (docs/events.md has the forms).
        streams: ids; None means all.
        start: "now", "start" (the oldest entry kept), after an entry id, or a capture time (aware).
        follow: wait for more at the end.
        connect_timeout_seconds: give up connecting, or waiting for an answer, after this long.
        max_retry_seconds: keep trying a lost connection for this long.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        streams: Sequence[str] | None = None,
        start: Start = "now",
        follow: bool = True,
        connect_timeout_seconds: float = 5.0,
        max_retry_seconds: float = 30.0,
    ) -> None:
        self._url = redis_url
        self._streams = streams
        self._start = start
        self._follow = follow
        self._settings = PublishSettings(
            connect_timeout_seconds=connect_timeout_seconds, max_retry_seconds=max_retry_seconds
        )
        self._positions: dict[str, str] = {}
        self.num_rejected = 0

    @property
    def positions(self) -> Mapping[str, str]:
        """Stream id → id of the last entry given out; as `start` it goes on after it."""
        return MappingProxyType(self._positions)

    def __iter__(self) -> Iterator[EmotionEvent]:
        """Events one by one, for code without an event loop.

        Raises:
            SinkUnavailableError: the server cannot be reached, or stayed away.
            ConfigError: the login was refused, or the start is not understood.
        """
        reader = self._reader()
        entries = reader.iterate()
        try:
            for entry in entries:
                if isinstance(event := self._noted(entry, reader), EmotionEvent):
                    yield event
        finally:
            if hasattr(entries, "close"):
                entries.close()

    async def __aiter__(self) -> AsyncIterator[EmotionEvent]:
        """Events one by one; errors as in `__iter__`."""
        async with self._reader() as reader:
            async for batch in reader.batches():
                for entry in batch:
                    if isinstance(event := self._noted(entry, reader), EmotionEvent):
                        yield event

    def _reader(self) -> RedisReader:
        return RedisReader(
            self._settings, redis_url=self._url, stream_ids=self._streams, start=self._start, follow=self._follow
        )

    def _noted(self, entry: EventEntry, reader: RedisReader) -> object:
        self._positions[entry.event.stream_id] = entry.entry_id
        self.num_rejected = reader.num_rejected
        return entry.event
