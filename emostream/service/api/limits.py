"""Rate limit per client, and bounds on request bodies."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emostream.service.api.client_places import ClientPlaces, Place
from emostream.service.api.problems import problem
from emostream.service.api.request_limit import has_body, no_place
from emostream.service.api.shared_limits import SharedLimits
from emostream.service.api.tokens import Tokens

_BURST_SECONDS = 2.0  # so much of the rate may come at once: a page that loads asks for many things
_MAX_CLIENTS = 10_000  # the one not seen for longest is forgotten; its bucket would be full again anyway


class TokenBuckets:
    """Token buckets, one per client. Time is a parameter.

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
    """ASGI middleware: a client above its rate is answered with 429; a token also above its rate over all processes.

    Args:
        app: what is protected.
        per_second: requests of one client; 0 means no limit.
        tokens: those that are known.
        unlimited: paths that are always answered.
        shared: what all processes count together; None where there is only one.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_second: float,
        tokens: Tokens | None = None,
        unlimited: Collection[str] = (),
        shared: SharedLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._tokens = tokens or Tokens()
        self._unlimited = unlimited
        self._shared = shared
        self._clock = clock
        self._per_second = per_second
        self._burst = per_second * _BURST_SECONDS
        self._buckets = TokenBuckets(per_second=per_second, burst=self._burst) if per_second else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and self._buckets is not None and scope["path"] not in self._unlimited:
            seconds = self._buckets.wait_seconds(self._tokens.client_of(scope), now_seconds=self._clock())
            if not seconds and self._shared is not None and (entry := self._tokens.of(scope)) is not None:
                seconds = await self._shared.wait_seconds(entry.name, per_second=self._per_second, burst=self._burst)
            if seconds:
                headers = {"Retry-After": str(math.ceil(seconds))}
                await problem(429, "too many requests; ask less often (Retry-After)", headers=headers)(
                    scope, receive, send
                )
                return
        await self._app(scope, receive, send)


_MAX_TEXT_BYTES = 512 << 10  # of a body that is parsed: 8 MB of JSON took the process three seconds
_NUM_FULL_BODIES = 16  # bodies of full length that may be in memory together
_MAX_DIGITS = 18
_PROMPT_SECONDS = 1.0  # a body that takes longer is a slow one, of which there may be few
_MAX_SLOW = 200
_MAX_SLOW_PER_CLIENT = 50


class BodyLimit:
    """ASGI middleware: the application gets a request when its body is there as a whole.

    The framework would read a body before it looks at the token, and wait for its end without a bound. Here a body
    without a known token is refused unread where tokens are needed (401), one that is too long as soon as that is known
    (413), one that is not there in time (408), and one for which there is no room beside others (429, 503).

    Args:
        app: what is protected.
        max_bytes: of one body.
        max_seconds: for one body.
        tokens: those that are known, and whether one is needed.
        for_pictures: paths whose bodies may be that long; others have 512 KiB at most.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        max_seconds: float,
        tokens: Tokens | None = None,
        for_pictures: Collection[str] = (),
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._for_pictures = for_pictures
        self._max_seconds = max_seconds
        self._tokens = tokens or Tokens()
        self._num_bytes = 0  # of all bodies that are in memory
        self._slow_places = ClientPlaces(_MAX_SLOW, per_client=_MAX_SLOW_PER_CLIENT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            refusal = None
            if has_body(scope):
                refusal = self._refusal_of_head(scope) or await self._refusal_of_body(scope, receive, body)
            if refusal is not None:
                await refusal(scope, receive, send)
            else:
                await self._app(scope, _replayed(bytes(body), receive), send)
        except ClientDisconnect:
            return
        finally:
            self._num_bytes -= len(body)

    def _refusal_of_head(self, scope: Scope) -> ASGIApp | None:
        if self._tokens.are_needed and self._tokens.of(scope) is None:
            return _closing(401, "a valid bearer token is required", {"WWW-Authenticate": "Bearer"})
        announced = dict(scope["headers"]).get(b"content-length", b"0").lstrip(b"0") or b"0"
        most = self._most(scope)
        is_number = announced.isdigit()
        # Python refuses to convert very long ones.
        return _too_long(most) if is_number and (len(announced) > _MAX_DIGITS or int(announced) > most) else None

    def _most(self, scope: Scope) -> int:
        """Bytes that the body may have."""
        return self._max_bytes if scope["path"] in self._for_pictures else min(_MAX_TEXT_BYTES, self._max_bytes)

    async def _refusal_of_body(self, scope: Scope, receive: Receive, body: bytearray) -> ASGIApp | None:
        """Read it into `body`; None when it is there as a whole."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_PROMPT_SECONDS, self._max_seconds)):
                return await self._read(receive, body, self._most(scope))
        with self._slow_places.asked_for(self._tokens.client_of(scope)) as place, contextlib.suppress(TimeoutError):
            if place is not Place.TAKEN:
                return no_place(place)
            async with asyncio.timeout(max(0.0, self._max_seconds - _PROMPT_SECONDS)):
                return await self._read(receive, body, self._most(scope))
        return _closing(408, f"the request body did not arrive within {self._max_seconds:g} s; send it again")

    async def _read(self, receive: Receive, body: bytearray, most: int) -> ASGIApp | None:
        """Go on reading; None when it is there as a whole, else why no more is wanted.

        Raises:
            ClientDisconnect: the client has gone.
        """
        has_more = True
        while has_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > most:
                return _too_long(most)
            if self._num_bytes + len(chunk) > _NUM_FULL_BODIES * self._max_bytes:
                return _closing(503, "too many large requests at once; try again later", {"Retry-After": "2"})
            body += chunk
            self._num_bytes += len(chunk)
            has_more = message.get("more_body", False)
        return None


def _too_long(most: int) -> ASGIApp:
    of_setting = "" if most == _MAX_TEXT_BYTES else " (service.max_body_bytes)"
    return _closing(413, f"the request body is larger than {most} bytes{of_setting}")


def _closing(status: int, detail: str, headers: dict[str, str] | None = None) -> ASGIApp:
    """A refusal after which the rest of the body is not wanted."""
    return problem(status, detail, headers={"Connection": "close"} | (headers or {}))


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body in one message, and what the server says after it."""
    is_given = False

    async def replayed() -> Message:
        nonlocal is_given
        if not is_given:
            is_given = True
            return {"type": "http.request", "body": body, "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass  # of a request without a body some servers say that it ended
        return message

    return replayed
