"""Scripts that a full server runs as well, because what they write is small and bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

# Redis ≥ 7.0 and Valkey; older servers do not know such a line and cannot be asked.
_ALLOW_OUT_OF_MEMORY = "#!lua flags=allow-oom\n"


class BoundedScript:
    """A script that is run although the server's memory is used up; on servers before Redis 7.0 only until then.

    Args:
        redis: not closed here. On a cluster the keys of a call must be of one slot.
        text: in Lua.
    """

    def __init__(self, redis: Redis, text: str) -> None:
        self._script: AsyncScript = redis.register_script(_ALLOW_OUT_OF_MEMORY + text)
        self._plain: AsyncScript = redis.register_script(text)

    async def __call__(self, *, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """What the script returns. Raises what the client raises."""
        try:
            return await cast(Awaitable[Any], self._script(keys=keys, args=args))
        except ResponseError as exc:
            if "compiling script" not in str(exc):
                raise
            self._script = self._plain
        return await cast(Awaitable[Any], self._script(keys=keys, args=args))
