"""What a stream published earlier, over HTTP: events sampled from Redis, bounded by time and number."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import AwareDatetime

from emostream.domain.clock import utc_now
from emostream.domain.event import EmotionEvent
from emostream.errors import EventRejectedError
from emostream.publish.redis.reads import RawEntry
from emostream.service.api.context import ApiContext, Context, StreamId
from emostream.wire.events import decode_event
from emostream.wire.http_models import HistoryEvent, HistoryFace, StreamHistory, problem_responses

_MAX_SPAN_SECONDS = 7 * 86_400
_MAX_EVENTS = 1000
_MAX_FACES = 100  # of one event; the answer stays small also for crowds
_LAST_MS = 1 << 42  # in the year 2109
_SPANS_AT_ONCE = 50  # bounds the memory: an entry has at most 2 MB
_MAX_READERS = 4  # of histories at once; each costs the server up to 1,000 look-ups


def add_history(app: FastAPI, *, reading: list[Any]) -> None:
    """The path `/v1/streams/{stream_id}/history`."""
    readers = asyncio.Semaphore(_MAX_READERS)

    @app.get(
        "/v1/streams/{stream_id}/history",
        dependencies=reading,
        tags=["events"],
        responses=problem_responses(404, 409),
    )
    async def stream_history(
        stream_id: StreamId,
        context: Context,
        seconds: Annotated[
            float, Query(ge=1, le=_MAX_SPAN_SECONDS, description="Length of the time span in seconds.")
        ] = 3600,
        until: Annotated[
            AwareDatetime | None,
            Query(description="End of the span, a time with its offset from UTC; by default the present."),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_EVENTS, description="Maximum number of events.")] = 300,
    ) -> StreamHistory:
        """Sample the events of a time span: at most `limit`, evenly spread by capture time.

        Each has the faces with track id, dominant emotion and confidence, at most 100. For all events of the span, read
        `/v1/streams/{stream_id}/events` from an `entry_id` on, or Redis.
        """
        await context.status(stream_id)
        async with readers:
            return await _history(context, stream_id, seconds=seconds, until=until or utc_now(), limit=limit)


async def _history(
    context: ApiContext, stream_id: str, *, seconds: float, until: datetime, limit: int
) -> StreamHistory:
    until_ms = _ms_of(until)
    since_ms = max(0, until_ms - round(1000 * seconds))
    ends = await context.store.ends_of_events(stream_id)
    oldest_ms, newest_ms = (_ms_of_entry(ends[0]), _ms_of_entry(ends[1])) if ends else (None, None)
    spans = _spans(since_ms, until_ms, limit)
    events: list[HistoryEvent] = []
    if oldest_ms is not None and newest_ms is not None:
        kept = [span for span in spans if span[1] >= oldest_ms and span[0] <= newest_ms]
        for start in range(0, len(kept), _SPANS_AT_ONCE):
            events += _events_in(await context.store.first_events(stream_id, kept[start : start + _SPANS_AT_ONCE]))
    return StreamHistory(
        since=_time_of(since_ms),
        until=_time_of(until_ms),
        step_seconds=(until_ms - since_ms) / max(1, len(spans)) / 1000,
        oldest_at=None if oldest_ms is None else _time_of(oldest_ms),
        newest_at=None if newest_ms is None else _time_of(newest_ms),
        events=events,
    )


def _spans(since_ms: int, until_ms: int, number: int) -> list[tuple[int, int]]:
    """First and last millisecond of steps of equal length, without gaps between.

    >>> _spans(1000, 2000, 3)
    [(1000, 1332), (1333, 1666), (1667, 2000)]
    """
    borders = [since_ms + round(index * (until_ms - since_ms) / number) for index in range(number + 1)]
    spans = [(first, last - 1) for first, last in pairwise(borders) if first < last]
    return [*spans[:-1], (spans[-1][0], until_ms)] if spans else []


def _events_in(entries: list[RawEntry]) -> Iterator[HistoryEvent]:
    for _, entry_id, fields in entries:
        try:
            event = decode_event(fields)
        except EventRejectedError:
            continue
        yield _sample_of(event, entry_id)


def _sample_of(event: EmotionEvent, entry_id: str) -> HistoryEvent:
    return HistoryEvent(
        entry_id=entry_id,
        captured_at=event.captured_at,
        epoch=event.epoch,
        frame_index=event.frame_index,
        latency_ms=dict(event.latency_ms),
        faces=[
            HistoryFace(track_id=item.track_id, dominant=item.dominant, confidence=item.confidence)
            for item in event.faces[:_MAX_FACES]
        ],
    )


def _ms_of(time: datetime) -> int:
    return min(max(0, round(1000 * time.timestamp())), _LAST_MS)


def _ms_of_entry(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _time_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
