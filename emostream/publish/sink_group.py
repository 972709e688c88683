"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Sequence

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.publish.sink import EventSink, publish_summary


class SinkGroup:
    """Delivers every event to each of its sinks, in their order; none at all is allowed.

    The first sink that fails ends the delivery, so a retry may reach the earlier ones again.
    """

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = tuple(sinks)

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver to all."""
        for sink in self._sinks:
            await sink.publish(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver to all."""
        for sink in self._sinks:
            await sink.publish_status(event)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver to those that take summaries."""
        for sink in self._sinks:
            await publish_summary(sink, event)

    async def close(self) -> None:
        """Close all, also when one of them fails; then raise the first failure."""
        errors: list[Exception] = []
        for sink in self._sinks:
            try:
                await sink.close()
            except Exception as exc:
                errors.append(exc)
        if errors:
            raise errors[0]
