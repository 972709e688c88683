"""A sink that measures the events that pass through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.voice import VoiceEvent
from emostream.publish.sink import EventSink, publish_summary, publish_voice
from emostream.telemetry.metrics import (
    DROPPED_FRAMES,
    EMOTION_FACES,
    EVENT_LATENCY,
    FACES,
    LAST_LATENCY,
    PUBLISHED_EVENTS,
    REPEATED_FRAMES,
    STAGE_SECONDS,
    TRACKS,
    VISIBLE_FACES,
)
from emostream.telemetry.values import MetricValues

_STAGES = ("detect", "follow", "wait", "classify")  # of an event's `latency_ms`


class MetricsSink:
    """Delivers events to another sink and then counts frames, faces, emotions, tracks, stage times and latency.

    Args:
        sink: closed with this one.
        metric_values: receives the values.
        now: wall clock, aware UTC.
        clock: seconds, to time publishing.
    """

    def __init__(
        self,
        sink: EventSink,
        *,
        metric_values: MetricValues,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._sink = sink
        self._metric_values = metric_values
        self._now = now
        self._clock = clock
        self._newest: dict[str, EmotionEvent] = {}
        self._latencies: dict[str, float] = {}
        self._max_track_ids: dict[str, tuple[int, int]] = {}  # epoch, greatest id

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver the events, then count them."""
        started = self._clock()
        await self._sink.publish(events)
        if events:
            self._metric_values.add(STAGE_SECONDS, self._clock() - started, stage="publish")
            self._count(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver the event."""
        await self._sink.publish_status(event)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver the event, if the sink accepts summary events."""
        await publish_summary(self._sink, event)

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver the event, if the sink accepts voice events."""
        await publish_voice(self._sink, event)

    async def close(self) -> None:
        """Close the sink."""
        await self._sink.close()

    def newest(self) -> dict[str, EmotionEvent]:
        """Stream id → its newest event, for all streams that published and were not forgotten."""
        return dict(self._newest)

    def collect(self) -> None:
        """Update the gauges of all streams. May be called from any thread."""
        newest, latencies = self.newest(), dict(self._latencies)
        self._metric_values.replace(
            VISIBLE_FACES, [({"stream_id": name}, len(event.faces)) for name, event in newest.items()]
        )
        self._metric_values.replace(LAST_LATENCY, [({"stream_id": name}, late) for name, late in latencies.items()])

    def forget(self, stream_id: str) -> None:
        """Drop the state of a stream that no longer runs in this process."""
        for known in (self._newest, self._latencies, self._max_track_ids):
            known.pop(stream_id, None)

    def _count(self, events: Sequence[EmotionEvent]) -> None:
        metric_values, now, stream_id = self._metric_values, self._now(), events[-1].stream_id
        metric_values.add(PUBLISHED_EVENTS, len(events), stream_id=stream_id)
        metric_values.add(FACES, sum(len(event.faces) for event in events), stream_id=stream_id)
        num_dropped = sum(event.num_dropped for event in events)
        metric_values.add(DROPPED_FRAMES, num_dropped, stream_id=stream_id, reason="late")
        num_repeated = sum(not event.is_classified for event in events)
        metric_values.add(REPEATED_FRAMES, num_repeated, stream_id=stream_id)
        for stage in _STAGES:
            seconds = sum(event.latency_ms.get(stage, 0.0) for event in events) / 1000
            metric_values.add(STAGE_SECONDS, seconds, stage=stage)
        for event in events:
            self._latencies[stream_id] = (now - event.captured_at).total_seconds()
            metric_values.observe(EVENT_LATENCY, self._latencies[stream_id])
            for face in event.faces:
                metric_values.add(EMOTION_FACES, 1, stream_id=stream_id, emotion=face.dominant)
        metric_values.add(TRACKS, sum(self._num_new_tracks(event) for event in events), stream_id=stream_id)
        self._newest[stream_id] = events[-1]

    def _num_new_tracks(self, event: EmotionEvent) -> int:
        """Number of new tracks: ids increase within an epoch, so those above the largest so far are new."""
        epoch, greatest = self._max_track_ids.get(event.stream_id, (event.epoch, -1))
        if epoch != event.epoch:
            greatest = -1
        ids = [face.face.track_id for face in event.faces if face.face.track_id is not None]
        self._max_track_ids[event.stream_id] = (event.epoch, max([greatest, *ids]))
        return sum(track_id > greatest for track_id in ids)
