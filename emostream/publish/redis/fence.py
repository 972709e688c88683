"""The fence of a stream: from the moment that a run of it begins, events of older runs are refused (decision D8)."""

from __future__ import annotations

from importlib.resources import files

from redis.asyncio import Redis

from emostream.publish.redis.bounded_script import BoundedScript
from emostream.wire.keys import fence_key

FENCE_MS = 600_000
"""Fences expire after this time, in ms: far longer than an owner takes to notice that it lost its lease."""


class Fence:
    """Of all streams on a server. Nothing is sent before the first call.

    Args:
        redis: not closed here.
    """

    def __init__(self, redis: Redis) -> None:
        self._script = BoundedScript(
            redis, files("emostream.publish.redis").joinpath("raise_fence.lua").read_text(encoding="utf-8")
        )

    async def raise_to(self, epoch: int, *, stream_id: str) -> None:
        """Refuse events of this stream with a smaller epoch; safe to repeat. Raises what the client raises."""
        await self._script(keys=[fence_key(stream_id)], args=[epoch, FENCE_MS])
