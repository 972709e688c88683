"""Keeps the list of event streams, so that consumers of all of them need not search the server's keys.

A list may lack the streams of publishers that may not write it, or of an earlier version, for as long as it takes until
the next comparison with the keys; consumers who may not read it, or find none, search the keys themselves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from emostream.domain.redact import shown_address
from emostream.publish.redis.connection import REDIS_ERRORS
from emostream.publish.redis.reads import scan_event_stream_keys
from emostream.wire.keys import STREAMS_KEY, stream_id_from_key

logger = logging.getLogger(__name__)

_REPEAT_SECONDS = 10.0  # a server that lost its data has the list again so soon
_COMPARE_SECONDS = 600.0


class StreamList:
    """The list as one publisher writes it. Failures are logged, and tried again later.

    Args:
        redis: not closed here.
        url: named, redacted, in messages.
    """

    def __init__(self, redis: Redis, *, url: str) -> None:
        self._redis = redis
        self._url = shown_address(url)
        self._published: set[str] = set()  # since the last repetition
        self._repeated_seconds = float("-inf")
        self._compared_seconds = time.monotonic()
        self._comparing: asyncio.Task[None] | None = None
        self._is_building = False
        self._may_write = True
        self._lock = asyncio.Lock()

    async def note(self, stream_id: str) -> None:
        """A stream has events; cheap where it is listed already."""
        if not self._may_write or not self._is_news(stream_id):
            return
        async with self._lock:
            if self._is_news(stream_id):
                try:
                    await self._add(stream_id)
                except REDIS_ERRORS as exc:
                    self._failed(exc)

    async def close(self) -> None:
        """End a comparison that is in progress."""
        if self._comparing is not None:
            self._comparing.cancel()
            await asyncio.gather(self._comparing, return_exceptions=True)

    def _is_due(self) -> bool:
        return time.monotonic() - self._repeated_seconds > _REPEAT_SECONDS

    def _is_news(self, stream_id: str) -> bool:
        return stream_id not in self._published or self._is_due()

    async def _add(self, stream_id: str) -> None:
        self._published.add(stream_id)
        added = {stream_id}
        if self._is_due():
            self._repeated_seconds = time.monotonic()
            is_missing = not await self._redis.exists(STREAMS_KEY)
            added, self._published = self._published, {stream_id}
            self._compare_when_due(added, is_missing=is_missing)
        # While there is no list, the stream is added with all others: a list that lacks most would be believed.
        if not self._is_building:
            await self._redis.sadd(STREAMS_KEY, *added)

    def _compare_when_due(self, added: set[str], *, is_missing: bool) -> None:
        now = time.monotonic()
        is_idle = self._comparing is None or self._comparing.done()
        if is_idle and (is_missing or now - self._compared_seconds > _COMPARE_SECONDS):
            self._compared_seconds = now
            self._is_building = is_missing
            self._comparing = asyncio.create_task(self._compare(added), name="emostream-stream-list")

    async def _compare(self, added: set[str]) -> None:
        """Add streams that are missing in the list, and take off those that are gone."""
        try:
            members: set[Any] = await self._redis.smembers(STREAMS_KEY)
            listed = {stream_id.decode() for stream_id in members}
            found = {stream_id_from_key(key) for key in await scan_event_stream_keys(self._redis)}
            if new := (found | added | self._published) - listed:
                await self._redis.sadd(STREAMS_KEY, *new)
            # One that has its first event just now is added again by its publisher.
            if gone := listed - found - self._published:
                await self._redis.srem(STREAMS_KEY, *gone)
        except REDIS_ERRORS as exc:
            self._failed(exc)
        finally:
            if self._is_building:
                self._is_building = False
                self._repeated_seconds = float("-inf")  # what was noted meanwhile

    def _failed(self, exc: Exception) -> None:
        logger.debug("the list of streams in Redis at %s is not written: %s", self._url, exc)
        self._may_write = not isinstance(exc, NoPermissionError)
