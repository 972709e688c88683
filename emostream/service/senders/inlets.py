"""Senders of single pictures (JPEG, WebP), which come to a worker through channels of Redis, which keep nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from emostream.decode.handed_pictures import PictureQueue
from emostream.decode.pushed_picture import decode_pushed_picture
from emostream.errors import RecordError, SourceError, SourceUnavailableError
from emostream.publish.redis.connection import REDIS_ERRORS
from emostream.service.registry.store import RegistryStore
from emostream.service.senders.figures import SenderCounters
from emostream.service.senders.refusal import RefusedError
from emostream.service.senders.waiting import WaitingSenders
from emostream.wire.keys import pictures_channel
from emostream.wire.pushed import pushed_from_bytes

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0  # bound on one wait for a message; then the connection is looked after


class PictureInlets:
    """Receives the pictures of several senders. Called in one event loop.

    Args:
        store: connection to the registry; not closed.
        waiting: where the pictures wait for the sources of their streams.
        counters: to which each sender adds.
        max_senders: at once.
        max_pixels: of a picture.
        stall_seconds: a sender that sends no picture for so long is ended.
    """

    def __init__(
        self,
        store: RegistryStore,
        *,
        waiting: WaitingSenders,
        counters: SenderCounters,
        max_senders: int,
        max_pixels: int,
        stall_seconds: float,
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._counters = counters
        self._max_senders = max_senders
        self._max_pixels = max_pixels
        self._stall_seconds = stall_seconds
        self._receiving: dict[str, asyncio.Task[None]] = {}  # by stream

    def __len__(self) -> int:
        """How many senders there are."""
        return len(self._receiving)

    def has_sender(self, stream_id: str) -> bool:
        """Whether somebody sends to a stream."""
        return stream_id in self._receiving

    async def begin(self, stream_id: str, session_id: str) -> None:
        """Receive pictures for a stream, from now on; another sender of pictures for it is ended.

        Raises:
            RefusedError: there are as many senders as are allowed.
        """
        before = self._receiving.pop(stream_id, None)
        if before is not None:
            before.cancel()
            await asyncio.wait([before])
        if len(self._receiving) >= self._max_senders:
            raise RefusedError(
                f"there are already {self._max_senders} senders of pictures (service.max_pushed_streams); try later",
                status=503,
            )
        is_listening = asyncio.Event()
        task = asyncio.create_task(self._receive(stream_id, session_id, is_listening), name=f"pictures of {stream_id}")
        self._receiving[stream_id] = task
        listening = asyncio.create_task(is_listening.wait())
        await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if not is_listening.is_set():
            raise RefusedError("the worker cannot receive pictures now; try again", status=503)

    async def close(self) -> None:
        """End all."""
        tasks = list(self._receiving.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _receive(self, stream_id: str, session_id: str, is_listening: asyncio.Event) -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def left() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(lambda: task is not None and task.cancel())

        pictures = PictureQueue(codec="pictures", on_left=left)
        listener: Any = self._store.redis.pubsub()
        reason = "another sender has taken its place, or its stream was stopped"
        try:
            await listener.subscribe(pictures_channel(session_id))
            reason = await self._pass_on(listener, pictures, stream_id, is_listening)
        except REDIS_ERRORS as exc:
            logger.info("stream %s: cannot receive pictures now: %s", stream_id, exc)
            reason = "the connection to the sender was lost"
        finally:
            pictures.finish(SourceUnavailableError(reason))
            self._waiting.withdraw(stream_id, pictures)
            if self._receiving.get(stream_id) is task:
                del self._receiving[stream_id]
            with contextlib.suppress(*REDIS_ERRORS):
                await listener.aclose()

    async def _pass_on(self, listener: Any, pictures: PictureQueue, stream_id: str, is_listening: asyncio.Event) -> str:
        """Hand over pictures until the sender ends; why it did."""
        loop = asyncio.get_running_loop()
        figures = self._counters.of(stream_id)
        heard_seconds = loop.time()
        while loop.time() - heard_seconds <= self._stall_seconds:
            message = await listener.get_message(timeout=_POLL_SECONDS)
            if message is None:
                continue
            if message["type"] == "subscribe":
                self._waiting.put(stream_id, pictures)
                is_listening.set()
            elif not message["data"]:
                return "the sender has ended"
            else:
                heard_seconds = loop.time()
                figures.num_bytes += len(message["data"])
                try:
                    captured_at, at_seconds, content = pushed_from_bytes(message["data"])
                    pixels = await asyncio.to_thread(decode_pushed_picture, content, max_pixels=self._max_pixels)
                except (RecordError, SourceError):
                    pictures.num_lost += 1
                else:
                    pictures.put(pixels, stamp_seconds=at_seconds, captured_at=captured_at)
        return f"the sender has sent no picture for {self._stall_seconds:g} s"
