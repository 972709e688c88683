"""Bounds how often one client may ask: a token bucket each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from emostream.config import TokenSettings
from emostream.service.problems import problem
from emostream.service.tokens import client_of

_BURST_SECONDS = 2.0  # so much of the rate may come at once: a page that loads asks for many things
_MAX_CLIENTS = 10_000  # the one not seen for longest is forgotten; its bucket would be full again anyway


class TokenBuckets:
    """Pure but for its state: who may ask now. Time is a parameter.

    >>> buckets = TokenBuckets(per_second=1, burst=2)
    >>> [buckets.wait_seconds("a", now_seconds=now) for now in (0.0, 0.0, 0.0, 1.0)]
    [0.0, 0.0, 1.0, 0.0]
    """

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = max(burst, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, when

    def wait_seconds(self, client: str, *, now_seconds: float) -> float:
        """0 when the client may ask now, which is counted; else how long until it may."""
        tokens, since = self._buckets.pop(client, (self._burst, now_seconds))
        tokens = min(self._burst, tokens + (now_seconds - since) * self._per_second)
        may_ask = tokens >= 1
        self._buckets[client] = (tokens - may_ask, now_seconds)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if may_ask else (1 - tokens) / self._per_second

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)


class RateLimit:
    """ASGI middleware: a client that asks too often is answered with 429.

    Args:
        app: what is protected.
        per_second: requests of one client; 0 means no limit.
        tokens: those that are known.
        unlimited: paths that are always answered.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_second: float,
        tokens: Sequence[TokenSettings] = (),
        unlimited: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._unlimited = unlimited
        self._clock = clock
        burst = per_second * _BURST_SECONDS
        self._buckets = TokenBuckets(per_second=per_second, burst=burst) if per_second else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and self._buckets is not None and scope["path"] not in self._unlimited:
            seconds = self._buckets.wait_seconds(client_of(scope, self._tokens), now_seconds=self._clock())
            if seconds:
                headers = {"Retry-After": str(math.ceil(seconds))}
                await problem(429, "too many requests; ask less often", headers=headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)
