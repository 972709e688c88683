"""The role of a sink: where events go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.voice import VoiceEvent


class Delivery(Enum):
    """What a sink promises of the events that it was given."""

    EXACTLY_ONCE = "exactly once"
    """The receiver has every event once: what is sent again is recognised there."""
    AT_LEAST_ONCE = "at least once"
    """The receiver has every event; after an unclear failure some twice, distinguished by epoch and frame index."""
    WHEN_CLOSED = "when closed"
    """The receiver has every event, once, as soon as the sink is closed; a crash loses them."""


class EventSink(Protocol):
    """Delivers events in the order given.

    The pipeline awaits `publish` with one or more events of one stream and calls it again only after it returned. Calls
    for other streams, and of status events, may come meanwhile, where streams share a sink.
    Returning means delivered (for Redis: acknowledged by the server; for files: handed to the operating system).
    `SinkUnavailableError` means: not known to be delivered, try the same events again; a sink that can tell (Redis)
    keeps those it has already from being delivered twice. Sinks wait and try again by themselves for as long as their
    settings say before they raise it. `EventRejectedError` means: the sink will never take these. `close` is
    guaranteed, flushes, and is called once.

    A sink may offer more: `SummarySink`, `VoiceSink`, `CheckedSink`, `CountingSink`. Which of them it is, is told by
    its methods.
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
    """A sink that takes summary events as well; the others are not given any."""

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver the summary of an interval; the promises of `EventSink.publish` hold."""
        ...


async def publish_summary(sink: EventSink, event: SummaryEvent) -> None:
    """Deliver a summary event where the sink takes them."""
    if isinstance(sink, SummarySink):
        await sink.publish_summary(event)


@runtime_checkable
class VoiceSink(Protocol):
    """A sink that takes voice events as well; the others are not given any."""

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver what was measured of a second of sound; the promises of `EventSink.publish` hold."""
        ...


async def publish_voice(sink: EventSink, event: VoiceEvent) -> None:
    """Deliver a voice event where the sink takes them."""
    if isinstance(sink, VoiceSink):
        await sink.publish_voice(event)


@runtime_checkable
class CheckedSink(Protocol):
    """A sink that can find out before the first event whether it will work."""

    async def check(self) -> None:
        """Connect and log in now, once.

        Raises:
            SinkUnavailableError: the receiver does not answer.
            ConfigError: it refuses the login, or cannot be used.
        """
        ...


async def check_before_work(sink: EventSink) -> None:
    """Find a wrong address before work starts, where the sink can; errors as of `CheckedSink.check`."""
    if isinstance(sink, CheckedSink):
        await sink.check()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sink has counted, or sees now.

    Attributes:
        metric: its name in `emostream/telemetry/metrics.py`.
        value: of a counter the sum since the sink was made, of a gauge the value now.
        labels: as the metric declares them.
    """

    metric: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class CountingSink(Protocol):
    """A sink that counts."""

    def readings(self) -> Iterable[Reading]:
        """Everything it counts. Callable from any thread."""
        ...


def readings_of(sink: EventSink) -> list[Reading]:
    """What a sink counts, with the sinks behind it; nothing where it does not count."""
    return list(sink.readings()) if isinstance(sink, CountingSink) else []
