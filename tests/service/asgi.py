"""Requests to ASGI applications, message by message: what an HTTP client library would never send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message


def scope_of(
    method: str = "POST", path: str = "/", headers: Iterable[tuple[bytes, bytes]] = (), client: str = "192.0.2.1"
) -> dict[str, Any]:
    """The head of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": list(headers),
        "client": (client, 1),
        "server": ("192.0.2.9", 80),
    }


class Exchange:
    """One request whose messages come as the test gives them, and the answer so far.

    Attributes:
        given: messages of the client that the application has not asked for yet.
        answered: messages of the application.
        num_asked: how often the application asked for a message.
    """

    def __init__(self, *messages: Message) -> None:
        self.given: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.given.put_nowait(message)
        self.answered: list[Message] = []
        self.num_asked = 0

    async def receive(self) -> Message:
        """For the application."""
        self.num_asked += 1
        return await self.given.get()

    async def send(self, message: Message) -> None:
        """For the application."""
        self.answered.append(message)

    async def with_app(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        """Until the application has done its work."""
        await app(scope, self.receive, self.send)

    @property
    def status(self) -> int:
        """Of the answer."""
        return int(self.answered[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Of the answer."""
        return dict(self.answered[0]["headers"])

    @property
    def body(self) -> bytes:
        """Of the answer, so far."""
        return b"".join(message.get("body", b"") for message in self.answered[1:])


def part(body: bytes, *, is_last: bool = False) -> Message:
    """A part of a request's body."""
    return {"type": "http.request", "body": body, "more_body": not is_last}
