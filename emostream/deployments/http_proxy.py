"""Hardens Ray Serve's HTTP proxy, which all requests pass, against clients that stall.

The proxy (uvicorn) waits for request headers without a limit, buffers everything that a replica sends for a reader that
does not read, and trusts clients' forwarding headers. Serve has no settings for these, but calls the function that the
environment variable `ENVIRONMENT` names when a proxy starts. The variable must be set where Ray starts: `emostream
serve`, the images and deploy/serve/*.yaml do so.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections import OrderedDict
from typing import Any, ClassVar, Final, Protocol

import uvicorn.config
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emostream.service.api.answer_window import PROGRESS, WINDOW_HEADER

ENVIRONMENT: Final = ("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", f"{__name__}.harden_proxy")
"""Name and value of the environment variable."""

_MAX_HEAD_BYTES = 64 << 10
_MAX_FRAMING_BYTES = 2 * _MAX_HEAD_BYTES  # beside a body: its head, sizes and extensions of chunks, trailers
_FRAMING_PER_BYTE = 16  # so much more per byte of the body: a chunk of one byte takes five
_MAX_WAITING = 32  # requests of one connection whose turn has not come; no browser sends any
_MIN_PROGRESS_BYTES = 4 << 10  # within `PatientProtocol.stall_seconds`
_UNSENT_BYTES = 128 << 10  # limit in the kernel per reader, which would take megabytes
_WINDOW_BYTES = 256 << 10
_TOLD_BYTES = _WINDOW_BYTES // 4
_MAX_IDLE = 4000
_MAX_IDLE_PER_ADDRESS = 1000
_MAX_FILES = 1 << 16

# Serve lets clients disable the request time-out and the end at a disconnect; both must stay in force.
_SETTINGS_OF_SERVE = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled")


def harden_proxy() -> list[Middleware]:
    """Called by Serve in the process of each proxy before its server starts."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:PatientProtocol"
    # `X-Forwarded-For` determines the client's identity: only proxies that the operator names may set it.
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # 1024 in many shells, which idle connections use up
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _MAX_FILES)), hard))
    return [Middleware(ToldProgress)]


class _Connection(Protocol):
    def reset(self) -> None: ...


class IdleConnections:
    """Connections that are in no request; of too many the oldest are reset, so new ones always get in.

    Args:
        in_all: maximum number.
        per_address: maximum number from one address.
    """

    def __init__(self, in_all: int = _MAX_IDLE, *, per_address: int = _MAX_IDLE_PER_ADDRESS) -> None:
        self._in_all = in_all
        self._per_address = per_address
        self._address_of: OrderedDict[_Connection, str] = OrderedDict()
        self._of_address: dict[str, OrderedDict[_Connection, None]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._address_of)

    def add(self, connection: _Connection, *, address: str) -> None:
        """Count a connection from now on; resets another one if there are too many."""
        self._address_of[connection] = address
        same = self._of_address.setdefault(address, OrderedDict())
        same[connection] = None
        if len(same) > self._per_address:
            self._end(next(iter(same)))
        if len(self) > self._in_all:
            self._end(next(iter(self._address_of)))

    def discard(self, connection: _Connection) -> None:
        """It is in a request, or closed."""
        address = self._address_of.pop(connection, None)
        if address is not None:
            same = self._of_address[address]
            del same[connection]
            if not same:
                del self._of_address[address]

    def _end(self, connection: _Connection) -> None:
        self.discard(connection)
        connection.reset()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also ends connections that stand still in the headers, in the body of a request that is
    answered already, or in reading, that send many requests without waiting for answers, and the oldest of too many
    idle ones.

    uvicorn makes one for each connection; a subclass has other limits.

    Attributes:
        head_seconds: limit for the headers of a request, from the connection or the request's first byte.
        stall_seconds: a reader that takes less than 4 KiB of what waits for it in this time is cut off.
        idle: connections of this process that are in no request.
    """

    head_seconds: ClassVar[float] = 10.0
    stall_seconds: ClassVar[float] = 30.0
    idle: ClassVar[IdleConnections] = IdleConnections()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._num_head_bytes = 0
        self._is_whole = True  # the last request, with its body
        self._num_body_bytes = self._num_framing_bytes = 0
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the header time-out, so that idle connections end as well."""
        super().connection_made(transport)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # not on Windows, where more waits in the system's buffers
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._start_head_timer()
        self._is_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self.idle.discard(self)
        self._stop_head_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Limit the size of headers, and of what comes beside a body."""
        num_before = self._num_body_bytes
        super().data_received(data)
        if self._head_timer is not None:
            self._num_head_bytes += len(data)
            if self._num_head_bytes > _MAX_HEAD_BYTES:
                self.reset()
        elif not self._is_whole:
            self._num_framing_bytes += len(data) - max(0, self._num_body_bytes - num_before)
            if self._num_framing_bytes > _MAX_FRAMING_BYTES + _FRAMING_PER_BYTE * self._num_body_bytes:
                self.reset()

    def on_message_begin(self) -> None:
        """Restart the header time-out at the first byte of a request."""
        super().on_message_begin()
        self._is_whole = False
        self._num_body_bytes = self._num_framing_bytes = 0
        self._stop_stall_timer()
        if self._head_timer is None:
            self._start_head_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Leave out trailers, as RFC 9110 allows: uvicorn would keep them without a limit, beside checked headers."""
        if self._head_timer is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the header time-out; the application limits the time for the body.

        Raises:
            ConnectionAbortedError: too many requests wait; the parser, which calls this, then reads no more.
        """
        self._stop_head_timer()
        self.idle.discard(self)
        super().on_headers_complete()
        if len(self.pipeline) > _MAX_WAITING:
            self.reset()
            self.pipeline.clear()
            raise ConnectionAbortedError

    def on_body(self, body: bytes) -> None:
        """Count it."""
        self._num_body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        super().on_message_complete()
        self._is_whole = True

    def pause_writing(self) -> None:
        """Watch a reader that is slower than the response."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The reader caught up."""
        self._stop_stall_timer()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Watch a reader that has not read the whole response; uvicorn would wait for it without a limit."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch_reader()
        if not self._is_whole:  # the rest of a body that was not wanted has no time-out
            self.transport.close()
        elif self.cycle is not None and self.cycle.response_complete:  # no other request waits
            self._is_idle()

    def _start_head_timer(self) -> None:
        self._num_head_bytes = 0
        self._head_timer = self.loop.call_later(self.head_seconds, self.reset)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_reader(self) -> None:
        self._stop_stall_timer()
        unsent = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(self.stall_seconds, self._check_reader, unsent)

    def _check_reader(self, unsent_before: int) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent > unsent_before - _MIN_PROGRESS_BYTES and unsent:
            self.reset()
        elif unsent:
            self._watch_reader()

    def _is_idle(self) -> None:
        if not self.transport.is_closing():
            self.idle.add(self, address=self.client[0] if self.client else "")

    def reset(self) -> None:
        """Reset the connection, which also drops unsent data that the kernel would keep for minutes."""
        at_once = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.transport.abort()

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


class ToldProgress:
    """ASGI middleware of the proxy that reports to the replica how much of its response the connection accepted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the window size in a header."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = (WINDOW_HEADER, *_SETTINGS_OF_SERVE)
        headers = [(name, value) for name, value in scope["headers"] if name not in own]
        headers.append((WINDOW_HEADER, str(_WINDOW_BYTES).encode()))
        answer = _ToldAnswer(receive, send)
        try:
            await self._app({**scope, "headers": headers}, answer.receive, answer.send)
        finally:
            answer.close()


class _ToldAnswer:
    """One request and its response."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_asked = False  # whether the application wants reports; other applications on the cluster do not
        self._num_untold = 0
        self._telling = asyncio.Event()
        self._receiving: asyncio.Future[Message] | None = None

    async def receive(self) -> Message:
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._receive())
        telling = asyncio.create_task(self._telling.wait())
        waiting: list[asyncio.Future[Any]] = [self._receiving, telling]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
        if self._receiving.done():
            received, self._receiving = self._receiving, None
            return received.result()
        self._telling.clear()
        num_bytes, self._num_untold = self._num_untold, 0
        return {"type": PROGRESS, "num_bytes": num_bytes}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            self._is_asked = any(bytes(name) == WINDOW_HEADER for name, _ in headers)
            message = {**message, "headers": [item for item in headers if bytes(item[0]) != WINDOW_HEADER]}
        await self._send(message)  # returns when the connection accepts more data
        self._num_untold += len(message.get("body", b""))
        if self._is_asked and self._num_untold >= _TOLD_BYTES:
            self._telling.set()

    def close(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
