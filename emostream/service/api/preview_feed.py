"""Previews as they are made, for one who looks; always the newest of each stream, however slowly they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from emostream.errors import PublishError
from emostream.publish.redis.connection import REDIS_ERRORS, translate
from emostream.service.registry.store import RegistryStore, registry_error
from emostream.wire.preview import PREVIEW_LIFE_SECONDS, PreviewPicture, preview_from_bytes

_POLL_SECONDS = 1.0  # bound on one wait for a message; then the connection is looked after


class PreviewFeed:
    """An async context manager; leaving it ends the making of previews, unless others look.

    Args:
        store: connection to the registry; not closed here.
        channels: what to look at.
    """

    def __init__(self, store: RegistryStore, *, channels: Sequence[str]) -> None:
        self._store = store
        self._channels = channels
        self._newest: dict[str, PreviewPicture] = {}  # by stream; the one that has waited longest comes first
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> PreviewFeed:
        """Note that the stream is being viewed.

        Raises:
            RegistryUnavailableError: Redis is away.
        """
        await self._look()
        self._tasks = [asyncio.create_task(self._keep_looking()), asyncio.create_task(self._receive())]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def next(self, *, timeout_seconds: float) -> PreviewPicture | None:
        """The newest picture of a stream that was not given out yet, or None when there is none in time.

        Raises:
            RegistryUnavailableError: Redis went away.
        """
        if not self._newest:
            self._changed.clear()
            waiting = asyncio.create_task(self._changed.wait())
            try:
                tasks = [waiting, *self._tasks]
                await asyncio.wait(tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        for task in self._tasks:
            if task.done() and (error := task.exception()) is not None:
                raise error
        return self._newest.pop(next(iter(self._newest))) if self._newest else None

    async def _look(self) -> None:
        await self._store.run("look", [round(PREVIEW_LIFE_SECONDS * 1000), *self._channels])

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(PREVIEW_LIFE_SECONDS / 3)
            await self._look()

    async def _receive(self) -> None:
        try:
            async with aclosing(self._messages()) as messages:
                async for message in messages:
                    picture = preview_from_bytes(message)
                    self._newest[picture.stream_id] = picture
                    self._changed.set()
        except REDIS_ERRORS as exc:
            error = translate(exc, url="the registry")
            raise registry_error(error) if isinstance(error, PublishError) else error from exc

    async def _messages(self) -> AsyncGenerator[bytes, None]:
        listener: Any = self._store.redis.pubsub(ignore_subscribe_messages=True)
        try:
            await listener.subscribe(*map(self._store.channel_of_database, self._channels))
            while True:
                message = await listener.get_message(timeout=_POLL_SECONDS)
                if message is not None:
                    yield message["data"]
        finally:
            await listener.aclose()
