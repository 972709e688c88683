"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Self

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.voice import VoiceEvent
from emostream.publish.sink import EventSink, Reading, check_before_work, publish_summary, publish_voice, readings_of


class SinkGroup:
    """Delivers every event to each of its sinks, in their order; none at all is allowed.

    A sink that fails keeps no event from those after it. The first failure is raised when all have been asked, so a
    retry reaches the others again.
    """

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = tuple(sinks)

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver to all."""
        await self._each(lambda sink: sink.publish(events))

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver to all."""
        await self._each(lambda sink: sink.publish_status(event))

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver to those that take summaries."""
        await self._each(lambda sink: publish_summary(sink, event))

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver to those that take voice events."""
        await self._each(lambda sink: publish_voice(sink, event))

    async def check(self) -> None:
        """Check those that can be checked, in their order; the first failure ends it."""
        for sink in self._sinks:
            await check_before_work(sink)

    def readings(self) -> Iterable[Reading]:
        """Of all."""
        return [reading for sink in self._sinks for reading in readings_of(sink)]

    async def close(self) -> None:
        """Close all, also when one of them fails; then raise the first failure."""
        await self._each(lambda sink: sink.close())

    async def __aenter__(self) -> Self:
        """Begin to send what earlier processes left in spools."""
        for sink in self._sinks:
            if isinstance(sink, AbstractAsyncContextManager):
                await sink.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()

    async def _each(self, call: Callable[[EventSink], Awaitable[None]]) -> None:
        errors: list[Exception] = []
        for sink in self._sinks:
            try:
                await call(sink)
            except Exception as exc:
                errors.append(exc)
        if errors:
            raise errors[0]
