"""A sink for tests of the spool that is away when it is told to be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.stream import StreamKind
from emostream.domain.voice import VoiceEvent
from emostream.errors import SinkUnavailableError
from emostream.publish.spool.sink import SpoolSink
from emostream.testing.fakes import CollectingSink


class Switchable(CollectingSink):
    """A sink that is away as long as it is told to be."""

    is_away = False

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        if self.is_away:
            raise SinkUnavailableError("away")
        await super().publish(events)

    async def publish_status(self, event: StatusEvent) -> None:
        if self.is_away:
            raise SinkUnavailableError("away")
        await super().publish_status(event)

    async def publish_voice(self, event: VoiceEvent) -> None:
        if self.is_away:
            raise SinkUnavailableError("away")
        await super().publish_voice(event)


def live(_: str) -> StreamKind:
    return StreamKind.LIVE


def indexes_of(events: Sequence[EmotionEvent]) -> list[int]:
    return [event.frame_index for event in events]


async def drained(spool: SpoolSink) -> None:
    async with asyncio.timeout(20):
        await spool.drain()
