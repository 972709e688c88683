"""Events of one stream as server-sent events, for browsers and `curl`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from emostream.config import PublishSettings
from emostream.event import EmotionEvent
from emostream.publish.redis_reader import EventEntry, RedisReader
from emostream.publish.wire import json_from_event

_IDLE_SECONDS = 5.0  # how often an idle connection is written to, so that dead ones are noticed, and its end is checked


async def server_events(
    settings: PublishSettings,
    *,
    redis_url: str,
    stream_id: str,
    start: str,
    is_over: Callable[[], Awaitable[bool]],
    idle_seconds: float = _IDLE_SECONDS,
) -> AsyncIterator[str]:
    """Text of the event stream: `id` is the entry id, to go on from; ends when the stream is over and read to its end.

    Args:
        settings: time-outs.
        redis_url: the server.
        stream_id: which stream.
        start: `now`, `start` or an entry id.
        is_over: whether no events will follow; asked while nothing comes.
        idle_seconds: how often that is.
    """
    reader = RedisReader(settings, redis_url=redis_url, stream_ids=[stream_id], start=start)
    batches = aiter(reader.batches())
    waiting: asyncio.Task[list[str]] | None = None
    try:
        was_over = False
        yield ": emostream\n\n"
        while True:
            waiting = waiting or asyncio.create_task(_next_texts(batches))
            done, _ = await asyncio.wait([waiting], timeout=idle_seconds)
            if done:
                texts, waiting = waiting.result(), None
                yield "".join(texts)
            elif was_over:
                yield "event: end\ndata: {}\n\n"
                return
            else:
                was_over = await is_over()  # what was published before that is read in one more round
                yield ": waiting\n\n"
    finally:
        # In a task of its own: where the reader of events went away, the framework ends every await in here at once,
        # and the connection to Redis would stay open.
        closing = asyncio.create_task(_close(reader, waiting))
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
"""Tasks need a reference until they are done."""


async def _close(reader: RedisReader, waiting: asyncio.Task[list[str]] | None) -> None:
    if waiting is not None:
        waiting.cancel()
        await asyncio.wait([waiting])
    await reader.close()


async def _next_texts(batches: AsyncIterator[list[EventEntry]]) -> list[str]:
    return [
        f"id: {entry.entry_id}\nevent: emotion\ndata: {json_from_event(entry.event)}\n\n"
        for entry in await anext(batches)
        if isinstance(entry.event, EmotionEvent)
    ]
