"""A sink with a name, which counts what it took and whether its receiver is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.voice import VoiceEvent
from emostream.errors import EventRejectedError
from emostream.publish.sink import EventSink, Reading, check_before_work, publish_summary, publish_voice, readings_of


@dataclass(slots=True)
class SinkCounts:
    """Counted while a sink runs.

    Attributes:
        num_delivered: emotion events that it took.
        num_rejected: emotion events that it will never take.
        num_failures: calls that failed for another reason; they are tried again, or end the run.
        is_up: whether the last call came through.
    """

    num_delivered: int = 0
    num_rejected: int = 0
    num_failures: int = 0
    is_up: bool = True


class CountedSink:
    """Passes everything on to another sink, and counts.

    Args:
        sink: closed with this.
        name: of the sink, in metrics; holds no secret.
    """

    def __init__(self, sink: EventSink, *, name: str) -> None:
        self.counts = SinkCounts()
        self._sink = sink
        self._name = name

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver, and count."""
        with self._counting(num_events=len(events)):
            await self._sink.publish(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver."""
        with self._counting():
            await self._sink.publish_status(event)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver, where the sink takes summary events."""
        with self._counting():
            await publish_summary(self._sink, event)

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver, where the sink takes voice events."""
        with self._counting():
            await publish_voice(self._sink, event)

    async def check(self) -> None:
        """Check the sink, where it can be checked."""
        with self._counting():
            await check_before_work(self._sink)

    def readings(self) -> Iterable[Reading]:
        """Its own and those of the sink."""
        sink, counts = {"sink": self._name}, self.counts
        return [
            Reading("emostream_sink_events_total", counts.num_delivered, sink | {"result": "delivered"}),
            Reading("emostream_sink_events_total", counts.num_rejected, sink | {"result": "rejected"}),
            Reading("emostream_sink_failures_total", counts.num_failures, sink),
            Reading("emostream_sink_up_ratio", float(counts.is_up), sink),
            *readings_of(self._sink),
        ]

    async def close(self) -> None:
        """Close the sink."""
        await self._sink.close()

    @contextlib.contextmanager
    def _counting(self, *, num_events: int = 0) -> Iterator[None]:
        try:
            yield
        except EventRejectedError:
            self.counts.num_rejected += num_events
            self.counts.is_up = True
            raise
        except Exception:
            self.counts.num_failures += 1
            self.counts.is_up = False
            raise
        self.counts.num_delivered += num_events
        self.counts.is_up = True
