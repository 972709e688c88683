"""Subscribe to events, with `for` or `async for`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from emostream.domain.event import EmotionEvent
from emostream.errors import ConfigError
from emostream.publish.files.table_writer import frame_from_events
from emostream.publish.redis.reader import EventEntry, RedisReader, Start, id_from_start
from emostream.publish.redis.reads import ids_from

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class _Timeouts:
    connect_timeout_seconds: float
    max_retry_seconds: float

    def __post_init__(self) -> None:
        if not self.connect_timeout_seconds > 0:
            raise ConfigError(f"expected a connect_timeout_seconds of more than 0, got {self.connect_timeout_seconds}")
        if not self.max_retry_seconds >= 0:
            raise ConfigError(f"expected a max_retry_seconds of 0 or more, got {self.max_retry_seconds}")


class EmotionEvents:
    """The emotion events of one stream, several, or all of them, oldest first within each stream.

    Each loop over it is a reading of its own; a plain `for` works in notebooks as well. New streams are picked up as
    they appear when none are named. Following never ends by itself; without it, reading ends with the last event. A
    named stream without events is an error then, and a warning in the log when following. While the server is away it
    is tried again for `max_retry_seconds`, and reading goes on where it was. Entries that are no events are left out
    and counted in `num_rejected`.

    Args:
        redis_url: of a server, servers behind Sentinels, or a cluster (docs/events.md has the forms).
        streams: an id or several; None means all.
        start: "now", "start" (the oldest entry kept), after an entry id, or a capture time (aware); None is "now" when
            following, else "start".
        follow: wait for more at the end.
        connect_timeout_seconds: give up connecting, or waiting for an answer, after this long.
        max_retry_seconds: keep trying a lost connection for this long.

    Raises:
        ConfigError: no stream is named, the start is not understood, or a time is out of range.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        streams: str | Sequence[str] | None = None,
        start: Start | None = None,
        follow: bool = True,
        connect_timeout_seconds: float = 5.0,
        max_retry_seconds: float = 30.0,
    ) -> None:
        self._url = redis_url
        self._streams = ids_from(streams)
        self._start = start
        if start is not None:
            id_from_start(start)  # refuses what it does not understand
        self._follow = follow
        self._timeouts = _Timeouts(connect_timeout_seconds, max_retry_seconds)
        self._positions: dict[str, str] = {}
        self.num_rejected = 0

    @property
    def positions(self) -> Mapping[str, str]:
        """Stream id → id of the last entry given out; as `start` it goes on after it."""
        return MappingProxyType(self._positions)

    def __iter__(self) -> Iterator[EmotionEvent]:
        """Events one by one.

        Raises:
            SinkUnavailableError: the server cannot be reached, or stayed away.
            UnknownEventStreamError: a named stream has no events, and this does not follow.
            ConfigError: the login was refused, or the start is not understood.
        """
        return self._iterate(follow=self._follow)

    def to_pandas(self) -> pd.DataFrame:
        """The events there are now as a pandas table, one row per face; reads to their end, and does not follow.

        Raises:
            ConfigError: pandas is not installed, or as in `__iter__`.
        """
        return frame_from_events(self._iterate(follow=False))

    def _iterate(self, *, follow: bool) -> Iterator[EmotionEvent]:
        reader = self._reader(follow=follow)
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
        async with self._reader(follow=self._follow) as reader:
            async for batch in reader.batches():
                for entry in batch:
                    if isinstance(event := self._noted(entry, reader), EmotionEvent):
                        yield event

    def _reader(self, *, follow: bool) -> RedisReader:
        return RedisReader(
            self._timeouts,
            redis_url=self._url,
            stream_ids=self._streams,
            start=self._start,
            follow=follow,
            expect_streams=True,
        )

    def _noted(self, entry: EventEntry, reader: RedisReader) -> object:
        self._positions[entry.event.stream_id] = entry.entry_id
        self.num_rejected = reader.num_rejected
        return entry.event
