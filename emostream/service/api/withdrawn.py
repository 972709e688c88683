"""Ends requests whose token is withdrawn meanwhile: readers of events and viewers would read on for ever."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emostream.service.api.tokens import Tokens


class WithdrawnTokens:
    """ASGI middleware: cancels what answers a token that is no longer known.

    Args:
        app: what answers.
        tokens: those that are known.
    """

    def __init__(self, app: ASGIApp, *, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        entry = self._tokens.of(scope) if scope["type"] == "http" else None
        if entry is None:
            await self._app(scope, receive, send)
            return
        is_started = is_complete = False

        async def noting(message: Message) -> None:
            nonlocal is_started, is_complete
            is_started = True
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with self._tokens.used(entry) as is_withdrawn:
            answering = asyncio.ensure_future(self._app(scope, receive, noting))
            waiting = asyncio.create_task(is_withdrawn.wait())
            try:
                await asyncio.wait([answering, waiting], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                if not answering.done():
                    answering.cancel()
                    await asyncio.wait([answering])
            if not answering.cancelled():
                answering.result()
        if is_started and not is_complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
