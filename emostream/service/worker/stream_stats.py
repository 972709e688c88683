"""Counts the published events of a stream, and rates over the last seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.stream import StreamState
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.sink import EventSink, publish_summary, publish_voice

_WINDOW_SECONDS = 5.0  # long enough for a steady rate at one frame per second, short enough to show a stop


class StreamStats:
    """Statistics of published frames. Time is a parameter.

    >>> meter = StreamStats()
    >>> for second in range(10):
    ...     meter.add(num_frames=25, num_faces=50, num_dropped=0, latency_ms=40.0, now_seconds=float(second))
    >>> meter.measured_fps(now_seconds=9.0), meter.latency_ms(now_seconds=9.0)
    (25.0, 40.0)
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self.num_faces = 0
        self.num_dropped = 0
        self.last_captured_at: datetime | None = None
        self.last_index = -1
        self._recent: deque[tuple[float, int, float]] = deque()  # time, frames, sum of latencies

    def add(self, *, num_frames: int, num_faces: int, num_dropped: int, latency_ms: float, now_seconds: float) -> None:
        """Add frames that were published at `now_seconds` (monotonic), with their mean latency."""
        self.num_frames += num_frames
        self.num_faces += num_faces
        self.num_dropped += num_dropped
        self._recent.append((now_seconds, num_frames, latency_ms * num_frames))
        self._forget(now_seconds)

    def measured_fps(self, *, now_seconds: float) -> float:
        """Frames per second over the last five seconds; 0 without frames."""
        self._forget(now_seconds)
        return sum(num_frames for _, num_frames, _ in self._recent) / _WINDOW_SECONDS

    def latency_ms(self, *, now_seconds: float) -> float | None:
        """Mean time from capture to publication over the last five seconds; None without frames."""
        self._forget(now_seconds)
        num_frames = sum(count for _, count, _ in self._recent)
        return sum(latency for _, _, latency in self._recent) / num_frames if num_frames else None

    def lag_ms(self, *, now: datetime) -> float | None:
        """Age of the newest published frame; None before the first."""
        return None if self.last_captured_at is None else 1000 * (now - self.last_captured_at).total_seconds()

    def _forget(self, now_seconds: float) -> None:
        while self._recent and self._recent[0][0] <= now_seconds - _WINDOW_SECONDS:
            self._recent.popleft()


class StreamStatsSink:
    """Passes events on to another sink and counts them.

    The shared sink accepted its settings when the worker started. So a `ConfigError` now (for example a password that
    was changed on one side first) means that the sink is unavailable, and the stream is retried instead of failing.

    Args:
        sink: shared; not closed.
        meter: receives the counts.
        on_status: called with each status event before it is delivered.
        on_published: called with delivered events.
        now: wall clock, aware UTC.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        sink: EventSink,
        *,
        meter: StreamStats,
        on_status: Callable[[StatusEvent], None],
        on_published: Callable[[Sequence[EmotionEvent]], None] = lambda events: None,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._on_status = on_status
        self._on_published = on_published
        self._meter = meter
        self._now = now
        self._clock = clock

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver the events, then count them."""
        with _away_at_most():
            await self._sink.publish(events)
        if events:
            now = self._now()
            latency_seconds = sum((now - event.captured_at).total_seconds() for event in events) / len(events)
            self._meter.add(
                num_frames=len(events),
                num_faces=sum(len(event.faces) for event in events),
                num_dropped=sum(event.num_dropped for event in events),
                latency_ms=1000 * latency_seconds,
                now_seconds=self._clock(),
            )
            self._meter.last_captured_at = events[-1].captured_at
            self._meter.last_index = events[-1].frame_index
            self._on_published(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Report and deliver the event, unless the run failed or was cancelled: then the worker reports what becomes of
        the stream."""
        task = asyncio.current_task()
        if event.state is StreamState.FAILED or (task is not None and task.cancelling()):
            return
        self._on_status(event)
        with _away_at_most():
            await self._sink.publish_status(event)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver the event, if the shared sink accepts summary events."""
        with _away_at_most():
            await publish_summary(self._sink, event)

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver the event, if the shared sink accepts voice events."""
        with _away_at_most():
            await publish_voice(self._sink, event)

    async def close(self) -> None:
        """Do nothing; the sink is shared."""


@contextlib.contextmanager
def _away_at_most() -> Iterator[None]:
    try:
        yield
    except ConfigError as exc:
        raise SinkUnavailableError(exc.message) from exc
