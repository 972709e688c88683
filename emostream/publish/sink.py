"""The role of a sink: where events go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent


class EventSink(Protocol):
    """Delivers events in the order given.

    The pipeline awaits `publish` with one or more events of one stream and calls it again only after it returned. Calls
    for other streams, and of status events, may come meanwhile, where streams share a sink.
    Returning means delivered (for Redis: acknowledged by the server; for files: handed to the operating system).
    `SinkUnavailableError` means: not known to be delivered, try the same events again; a sink that can tell (Redis)
    keeps those it has already from being delivered twice. Sinks wait and try again by themselves for as long as their
    settings say before they raise it. `EventRejectedError` means: the sink will never take these. `close` is
    guaranteed, flushes, and is called once.
    """

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver emotion events of one stream, in order."""
        ...

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver one change in the life of a stream."""
        ...

    async def close(self) -> None:
        """Flush and release."""
        ...


@runtime_checkable
class SummarySink(Protocol):
    """What a sink has that takes summary events as well; the others are not given any."""

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver the summary of an interval; the promises of `EventSink.publish` hold."""
        ...


async def publish_summary(sink: EventSink, event: SummaryEvent) -> None:
    """Deliver a summary event where the sink takes them."""
    if isinstance(sink, SummarySink):
        await sink.publish_summary(event)
