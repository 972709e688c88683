"""Long answers go no further ahead of their reader than a window, also where a server in between takes everything.

Ray Serve's proxy takes what a replica sends without end and keeps it for a reader that stands still or is slow. So the
proxy (deployments/http_proxy.py) says in a header of each request that it tells what its readers took, and tells it in
messages beside `http.disconnect`; the replica, here, waits while more than a window is on the way. The picture or event
that comes next is then simply made later, from what is newest.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

WINDOW_HEADER = b"x-emostream-window"
"""In a request: bytes on the way to the reader. In an answer: the server supports this. Never from clients."""
PROGRESS = "emostream.progress"
"""Type of an ASGI message to the application; `num_bytes` of the body were taken since the last one."""


class AnswerWindow:
    """ASGI middleware: holds an answer back while its reader is behind, and ends it for one that stands still.

    A reader of events goes on with a new request after the last one it had.

    Args:
        app: what answers.
        max_seconds: without any progress of the reader.
        max_untold_bytes: of one answer behind a server that says nothing of windows; None where such a server holds
            back by itself, as uvicorn does.
    """

    def __init__(self, app: ASGIApp, *, max_seconds: float = 60.0, max_untold_bytes: int | None = None) -> None:
        self._app = app
        self._max_seconds = max_seconds
        self._max_untold_bytes = max_untold_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer as fast as it is taken."""
        window = dict(scope["headers"]).get(WINDOW_HEADER, b"") if scope["type"] == "http" else b""
        if window.isdigit():
            answer = _HeldAnswer(receive, send, max_bytes=int(window), max_seconds=self._max_seconds)
            await answer.run(self._app, scope)
        elif scope["type"] == "http" and self._max_untold_bytes is not None:
            await _HeldAnswer(receive, send, max_bytes=self._max_untold_bytes, max_seconds=0).run(self._app, scope)
        else:
            await self._app(scope, receive, send)


class _HeldAnswer:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send, *, max_bytes: int, max_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._num_ahead = 0  # sent, and not known to be taken
        self._is_over = False  # the reader went away, or was cut off
        self._is_cut = False
        self._changed = asyncio.Event()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()  # what is for the application
        self._pump: asyncio.Task[None] | None = None

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        finally:
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.wait([self._pump])
                if not self._pump.cancelled():
                    self._pump.exception()  # the server itself is gone: there is no one to tell
        if self._is_cut:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive(self) -> Message:
        if self._inbox.empty() and self._is_over:
            return {"type": "http.disconnect"}
        self._start_pump()
        return await self._inbox.get()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._max_seconds:
            message = {**message, "headers": [*message.get("headers", []), (WINDOW_HEADER, b"1")]}
        if self._num_ahead >= self._max_bytes:
            await self._wait_for_reader()
        if self._is_over:
            return
        self._num_ahead += len(message.get("body", b""))
        await self._send(message)

    async def _wait_for_reader(self) -> None:
        self._start_pump()
        while self._num_ahead >= self._max_bytes and not self._is_over:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._max_seconds):
                    await self._changed.wait()
            except TimeoutError:
                self._is_cut = True
                self._end()

    def _start_pump(self) -> None:
        self._pump = self._pump or asyncio.create_task(self._read_messages())

    async def _read_messages(self) -> None:
        try:
            while (message := await self._receive())["type"] != "http.disconnect":
                if message["type"] == PROGRESS:
                    self._num_ahead -= message["num_bytes"]
                    self._changed.set()
                else:
                    self._inbox.put_nowait(message)
        finally:
            self._end()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._inbox.put_nowait({"type": "http.disconnect"})
            self._changed.set()
