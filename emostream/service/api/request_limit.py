"""Bounds how many requests are in progress: of one client, so that it leaves room for others, and in all."""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from emostream.service.api.client_places import ClientPlaces, Place
from emostream.service.api.problems import problem
from emostream.service.api.shared_limits import SharedLimits
from emostream.service.api.tokens import Tokens


def has_body(scope: Scope) -> bool:
    """Whether a request announces a body; one that does not has none."""
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"").strip(b" 0") != b""


class RequestLimit:
    """ASGI middleware: what is too many is refused at once, and does not wait for a place.

    A request counts from its head to the end of its answer, so each reader of events counts for as long as it reads.

    Args:
        app: what is protected.
        max_requests: in all (503).
        max_requests_per_client: of one client (429); of one token also in all processes.
        tokens: those that are known.
        unlimited: paths that are always answered, when no body comes with the request.
        shared: what all processes count together; None where there is only one.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_requests: int,
        max_requests_per_client: int,
        tokens: Tokens | None = None,
        unlimited: Collection[str] = (),
        shared: SharedLimits | None = None,
    ) -> None:
        self._app = app
        self._max_per_client = max_requests_per_client
        self._shared = shared
        self._places = ClientPlaces(max_requests, per_client=max_requests_per_client)
        self._tokens = tokens or Tokens()
        self._unlimited = unlimited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or (scope["path"] in self._unlimited and not has_body(scope)):
            await self._app(scope, receive, send)
            return
        with self._places.asked_for(self._tokens.client_of(scope)) as place:
            if place is not Place.TAKEN:
                await no_place(place)(scope, receive, send)
            elif self._shared is None or (entry := self._tokens.of(scope)) is None:
                await self._app(scope, receive, send)
            else:
                async with self._shared.place(entry.name, max_places=self._max_per_client) as has_place:
                    app = self._app if has_place else no_place(Place.CLIENT_HAS_TOO_MANY)
                    await app(scope, receive, send)


def no_place(place: Place) -> ASGIApp:
    """The refusal of a request for which there is no place."""
    headers = {"Retry-After": "2", "Connection": "close"}
    if place is Place.CLIENT_HAS_TOO_MANY:
        return problem(429, "too many concurrent requests of this client; wait for answers", headers=headers)
    return problem(503, "the service has too many concurrent requests; try again later", headers=headers)
