"""Publishes events to Redis Streams, each once and in order, also when the connection breaks (decision D8)."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from itertools import groupby
from operator import attrgetter
from typing import Any, Self, TypeVar

from redis.exceptions import ResponseError

from emostream.config import EventSettings, PublishSettings, RetentionSettings
from emostream.domain.event import EmotionEvent, StatusEvent, StatusKind, SummaryEvent
from emostream.domain.stream import StreamState
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, EventRejectedError
from emostream.publish.redis.bounded_script import BoundedScript
from emostream.publish.redis.connection import close_redis, is_full, open_redis, with_retries
from emostream.publish.redis.event_memory import EventMemory
from emostream.publish.redis.fence import FENCE_MS, Fence
from emostream.publish.redis.groups import BehindWarnings, group_positions, used_share
from emostream.publish.redis.replicated import run_script
from emostream.publish.redis.stream_list import StreamList
from emostream.publish.sink import Reading
from emostream.wire.events import WireOptions, encode_event, json_from_status, json_from_summary, json_from_voice
from emostream.wire.keys import STATUS_KEY, SUMMARIES_KEY, VOICE_KEY, events_key, fence_key


def without_empty_frames(events: Sequence[EmotionEvent], *, num_carried: int) -> tuple[list[EmotionEvent], int]:
    """The events with faces; lost frames that the others announced are announced by the next one with faces.

    Args:
        events: of one stream, in order.
        num_carried: lost frames that earlier events left to be announced.

    Returns:
        The events, and the number of lost frames that a later event must announce.
    """
    selected = []
    for event in events:
        num_carried += event.num_dropped
        if event.faces:
            selected.append(replace(event, num_dropped=num_carried) if num_carried != event.num_dropped else event)
            num_carried = 0
    return selected, num_carried


T = TypeVar("T")

_MAX_STATUS_EVENTS = 10_000  # a few per stream and run: months of history at little cost
_MAX_SUMMARY_EVENTS = 100_000  # a week of 10 streams at one a minute
_MAX_VOICE_EVENTS = 100_000  # 14 hours of one stream
_BEHIND: StatusKind = "consumer_behind"
_MAX_EVENTS_PER_CALL = 256  # the server runs one call without pause, so this bounds how long others wait for it
logger = logging.getLogger(__name__)

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class RedisSinkStats:
    """Counted by the sink while it runs.

    Attributes:
        num_published: events and status events the server acknowledged as new.
        num_repeated: events the server had already, from an attempt whose answer was lost.
        num_retries: attempts after the first, over all calls.
        num_behind_warnings: warnings that trimming is about to overtake a consumer group.
        group_lags: events that each consumer group has not finished, by stream id and group, at the last check.
    """

    num_published: int = 0
    num_repeated: int = 0
    num_retries: int = 0
    num_behind_warnings: int = 0
    group_lags: dict[str, dict[str, int]] = field(default_factory=dict)


class RedisSink:
    """One entry per event at `emostream:events:{stream_id}`, status events at `emostream:status`, summary events at
    `emostream:summaries`, voice events at `emostream:voice`.

    Publishing an event twice adds it once. When the server is away, `publish` waits and tries again for
    `max_retry_seconds`. It may be awaited for several streams at once.
    """

    def __init__(self, settings: PublishSettings, *, redis_url: str) -> None:
        """Raises `ConfigError` when the URL is not one of Redis. Connects at the first event, or at `check`."""
        self._url = redis_url
        self._settings = settings
        self._warnings = BehindWarnings()
        self._checked_at: dict[str, float] = {}
        self._num_carried: dict[str, int] = {}
        self._max_retry_seconds = settings.max_retry_seconds
        self._redis = open_redis(redis_url, timeout_seconds=settings.connect_timeout_seconds)
        self._append_events = self._redis.register_script(_script("append_events.lua"))
        self._fence = Fence(self._redis)
        self._append_status = BoundedScript(self._redis, _script("append_status.lua"))
        self._append_summary = self._redis.register_script(_script("append_status.lua"))
        self.memory = EventMemory(self._redis, url=redis_url, settings=settings)
        """What events take of the server."""
        self._stream_list = StreamList(self._redis, url=redis_url)
        self.stats = RedisSinkStats()

    async def check(self) -> None:
        """Connect and log in now, without trying twice, so that a wrong URL is found before work starts.

        Raises:
            SinkUnavailableError: the server does not answer.
            ConfigError: the login was refused, the database does not exist, it is no Redis, or one that drops data.
        """
        try:
            await with_retries(self._ping, url=self._url, max_retry_seconds=0)
            await with_retries(self.memory.check, url=self._url, max_retry_seconds=0)
        except EventRejectedError as exc:
            raise ConfigError(f"{exc}; check the Redis URL") from exc

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver events of one stream, or of several, in order."""
        for stream_id, of_stream in groupby(events, key=attrgetter("stream_id")):
            selected, num_carried = self._selected(stream_id, list(of_stream))
            for start in range(0, len(selected), _MAX_EVENTS_PER_CALL):
                await self._publish_batch(stream_id, selected[start : start + _MAX_EVENTS_PER_CALL])
            self._num_carried[stream_id] = num_carried

    def _selected(self, stream_id: str, events: Sequence[EmotionEvent]) -> tuple[Sequence[EmotionEvent], int]:
        """The events this stream publishes, and lost frames that a later event must announce."""
        if self._event_settings_of(stream_id).empty_frames:
            return events, 0
        return without_empty_frames(events, num_carried=self._num_carried.get(stream_id, 0))

    def _event_settings_of(self, stream_id: str) -> EventSettings:
        return self._settings.stream_events.get(stream_id, self._settings.events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver one change in the life of a stream; from now on events of older runs of it are refused."""
        if event.kind == "state":
            await self._retrying(lambda: self._fence.raise_to(event.epoch, stream_id=event.stream_id))
        await self._append_once(self._append_status, STATUS_KEY, json_from_status(event), max_length=_MAX_STATUS_EVENTS)
        if event.state.is_final:  # a sink outlives many streams
            self._num_carried.pop(event.stream_id, None)
            self._checked_at.pop(event.stream_id, None)
            self._warnings.forget(event.stream_id)
            self.stats.group_lags.pop(event.stream_id, None)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver the summary of an interval."""
        await self._append_once(
            self._append_summary, SUMMARIES_KEY, json_from_summary(event), max_length=_MAX_SUMMARY_EVENTS
        )

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver what was measured of a second of sound."""
        await self._append_once(self._append_summary, VOICE_KEY, json_from_voice(event), max_length=_MAX_VOICE_EVENTS)

    async def _append_once(
        self, script: Callable[..., Awaitable[Any]], key: str, text: str, *, max_length: int
    ) -> None:
        life_ms = int(1000 * (self._settings.max_idle_seconds or 0))

        async def append() -> int:
            return int(await script(keys=[key], args=[max_length, text, life_ms]))

        self.stats.num_published += await self._retrying(append)

    def readings(self) -> Iterable[Reading]:
        """Entries, retries, the server's memory, and how far consumer groups are behind."""
        stats, memory = self.stats, self.memory.stats
        yield Reading("emostream_redis_events_total", stats.num_published, {"result": "new"})
        yield Reading("emostream_redis_events_total", stats.num_repeated, {"result": "repeated"})
        yield Reading("emostream_redis_retries_total", stats.num_retries)
        yield Reading("emostream_redis_behind_warnings_total", stats.num_behind_warnings)
        yield Reading("emostream_redis_trimmed_events_total", memory.num_trimmed)
        if memory.max_bytes:
            yield Reading("emostream_redis_memory_used_bytes", memory.used_bytes)
            yield Reading("emostream_redis_memory_limit_bytes", memory.max_bytes)
        for stream_id, groups in list(stats.group_lags.items()):
            for group, lag in groups.items():
                yield Reading("emostream_redis_group_lag_events", lag, {"stream_id": stream_id, "group": group})

    async def close(self) -> None:
        """Close the connections. Nothing waits in the sink, so there is nothing to flush."""
        await self._stream_list.close()
        await close_redis(self._redis)

    async def __aenter__(self) -> Self:
        """Connect and log in."""
        await self.check()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()

    async def _publish_batch(self, stream_id: str, events: Sequence[EmotionEvent]) -> None:
        max_events, max_age_seconds = self._retention_of(stream_id)
        shape = self._event_settings_of(stream_id)
        options = WireOptions(
            encoding=shape.encoding, probability_digits=shape.probability_digits, has_landmarks=shape.landmarks
        )
        arguments: list[str | bytes | int] = [max_events, int(1000 * (max_age_seconds or 0)), options.field, FENCE_MS]
        arguments.append(int(1000 * self._life_without_events_of(stream_id)))
        for event in events:
            fields = encode_event(event, options)
            captured_ms = (event.captured_at - _EPOCH_START) // timedelta(milliseconds=1)
            arguments += [max(captured_ms, 0), fields["epoch"], fields["frame_index"], fields[options.field]]

        append = partial(self._append, stream_id, arguments)
        num_appended, num_repeated, newer_epoch, ignored_epoch = await self._retrying(append)
        if ignored_epoch >= 0:
            logger.warning(
                "stream %s: epoch %d in Redis is more than a day ahead of the server's clock and is ignored: a program "
                "with write access forged it, or the clock of its machine is wrong",
                stream_id,
                ignored_epoch,
                extra={"stream_id": stream_id},
            )
        self.stats.num_published += num_appended
        self.stats.num_repeated += num_repeated
        if newer_epoch >= 0:
            raise EventRejectedError(
                f"stream {stream_id} is published by a newer run: its epoch is {newer_epoch}, of this run "
                f"{events[-1].epoch}; two programs use the same stream id, or the clock went back: stop one or choose "
                "another stream id",
                newer_epoch=newer_epoch,
            )
        await self._stream_list.note(stream_id)
        await self._check_groups(events[-1])
        await self.memory.look()

    async def _append(self, stream_id: str, arguments: Sequence[str | bytes | int]) -> list[int]:
        """What the script returns. Where events filled the server, some are removed first."""
        call = partial(
            run_script,
            self._redis,
            self._append_events,
            keys=[events_key(stream_id), fence_key(stream_id)],
            arguments=arguments,
            num_replicas=self._settings.wait_replicas,
            timeout_seconds=self._settings.connect_timeout_seconds / 2,  # before the client gives up waiting
        )
        try:
            reply: list[Any] = await call()
        except ResponseError as exc:
            if not is_full(exc) or not await self.memory.look(is_full=True):
                raise
            reply = await call()
        return [int(number) for number in reply]

    def _retention_of(self, stream_id: str) -> tuple[int, float | None]:
        """(events, seconds) that a stream keeps."""
        own = self._settings.retention.get(stream_id, RetentionSettings())
        return (
            own.max_events or self._settings.max_events_per_stream,
            own.max_age_seconds or self._settings.max_age_seconds,
        )

    def _life_without_events_of(self, stream_id: str) -> float:
        """Seconds without an event after which the whole stream is deleted; 0 means never."""
        _, max_age_seconds = self._retention_of(stream_id)
        own = self._settings.retention.get(stream_id, RetentionSettings())
        lives = [max_age_seconds, own.max_idle_seconds or self._settings.max_idle_seconds]
        return min((life for life in lives if life is not None), default=0.0)

    async def _check_groups(self, event: EmotionEvent) -> None:
        """Warn, now and then, when trimming is about to overtake a consumer group of the stream."""
        now = time.monotonic()
        stream_id = event.stream_id
        checked_at = self._checked_at.setdefault(stream_id, now - 1e-3)
        if now - checked_at < self._settings.group_check_seconds:
            return
        self._checked_at[stream_id] = now
        max_events, max_age_seconds = self._retention_of(stream_id)
        extent, groups = await self._retrying(lambda: group_positions(self._redis, events_key(stream_id)))
        self.stats.group_lags[stream_id] = {
            group.name: group.num_unread for group in groups if group.num_unread is not None
        }
        # Where memory is tight, what is there now is all that is kept.
        max_events = min(max_events, max(extent.length, 1)) if self.memory.is_tight else max_events
        shares = [
            (group.name, used_share(group, extent, max_events=max_events, max_age_seconds=max_age_seconds))
            for group in groups
        ]
        for name in self._warnings.update(stream_id, shares):
            self.stats.num_behind_warnings += 1
            detail = (
                f"consumer group {name} has used {dict(shares)[name]:.0%} of what is kept of this stream; what it has "
                "not read is removed soon: speed it up, or keep more events"
            )
            await self.publish_status(
                StatusEvent(stream_id, event.epoch, StreamState.RUNNING, event.captured_at, detail, kind=_BEHIND)
            )

    async def _ping(self) -> None:
        await self._redis.ping()

    async def _retrying(self, command: Callable[[], Awaitable[T]]) -> T:
        return await with_retries(
            command, url=self._url, max_retry_seconds=self._max_retry_seconds, on_retry=self._count_retry
        )

    def _count_retry(self) -> None:
        self.stats.num_retries += 1


def _script(name: str) -> str:
    return files("emostream.publish.redis").joinpath(name).read_text(encoding="utf-8")
