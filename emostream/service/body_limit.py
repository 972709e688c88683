"""Takes the body of a request in before anything else sees it: from whom, how long, within which time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emostream.config import TokenSettings
from emostream.service.client_places import ClientPlaces, Place
from emostream.service.problems import problem
from emostream.service.request_limit import has_body, no_place
from emostream.service.tokens import client_of, token_of

_NUM_FULL_BODIES = 16  # so many of full length may be in memory together
_PROMPT_SECONDS = 1.0  # whatever takes longer to come is a slow body, of which there may be few
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
        tokens: those that are known; none means that none is needed.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, max_seconds: float, tokens: Sequence[TokenSettings] = ()
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._tokens = tokens
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
        if self._tokens and token_of(scope, self._tokens) is None:
            return _closing(401, "a valid bearer token is needed", {"WWW-Authenticate": "Bearer"})
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        return self._too_long() if announced.isdigit() and int(announced) > self._max_bytes else None

    async def _refusal_of_body(self, scope: Scope, receive: Receive, body: bytearray) -> ASGIApp | None:
        """Read it into `body`; None when it is there as a whole."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_PROMPT_SECONDS, self._max_seconds)):
                return await self._read(receive, body)
        with self._slow_places.asked_for(client_of(scope, self._tokens)) as place, contextlib.suppress(TimeoutError):
            if place is not Place.TAKEN:
                return no_place(place)
            async with asyncio.timeout(max(0.0, self._max_seconds - _PROMPT_SECONDS)):
                return await self._read(receive, body)
        return _closing(408, f"the body was not there as a whole after {self._max_seconds:g} s; send it again")

    async def _read(self, receive: Receive, body: bytearray) -> ASGIApp | None:
        """Go on reading; None when it is there as a whole, else why no more is wanted.

        Raises:
            ClientDisconnect: nobody waits for an answer.
        """
        has_more = True
        while has_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > self._max_bytes:
                return self._too_long()
            if self._num_bytes + len(chunk) > _NUM_FULL_BODIES * self._max_bytes:
                return _closing(503, "too many long requests at once", {"Retry-After": "2"})
            body += chunk
            self._num_bytes += len(chunk)
            has_more = message.get("more_body", False)
        return None

    def _too_long(self) -> ASGIApp:
        return _closing(413, f"the body is longer than {self._max_bytes} bytes; send less")


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
