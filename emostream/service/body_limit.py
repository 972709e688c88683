"""Refuses requests whose body is too long, before it is in memory."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emostream.service.problems import problem


class BodyLimit:
    """ASGI middleware: more than `max_bytes` of body is answered with 413.

    A request that announces its length is refused unread. One that does not is cut off at the limit.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await self._refusal()(scope, receive, send)
            return
        num_bytes = 0
        is_refused = False

        async def counted() -> Message:
            nonlocal num_bytes, is_refused
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes and not is_refused:
                is_refused = True
                await self._refusal()(scope, receive, send)
            return {"type": "http.disconnect"} if is_refused else message

        async def guarded(message: Message) -> None:
            if not is_refused:
                await send(message)

        await self._app(scope, counted, guarded)

    def _refusal(self) -> ASGIApp:
        return problem(413, f"the body is longer than {self._max_bytes} bytes; send less")
