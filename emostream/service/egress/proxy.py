"""Makes FFmpeg's connections, so that each one is checked by the source policy and goes to the checked address.

FFmpeg resolves names, follows redirects and opens URLs of playlists by itself. So in the service it does not connect to
untrusted sources directly:

- HTTP and HTTPS use a proxy on the loopback interface that checks each connection. FFmpeg uses it for redirects and all
  parts of a playlist as well. TLS is end to end, so FFmpeg checks certificates. Each source has a user name of its own
  at the proxy, by which it learns why a connection failed: FFmpeg shows only the status code of the proxy's response.
- RTSP and everything over TLS (rtsps, rtmps) uses a relay on the loopback interface for one connection. The relay
  speaks TLS to the server. It parses and rewrites each RTSP message and ends the connection when the server redirects
  or the data is not RTSP (`rtsp_guard.py`). Media over UDP (in the operator's networks only) come past the relay.

All of it runs in one thread with its own event loop, so that a busy worker does not slow sources down.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import itertools
import logging
import os
import secrets
import ssl
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from emostream.domain.redact import redact
from emostream.errors import SourceError, SourceRejectedError, SourceTimeoutError, SourceUnavailableError
from emostream.service.egress.connect import connected_socket
from emostream.service.egress.opening_memory import OpeningMemory
from emostream.service.egress.opening_memory import max_growth_bytes as default_growth_bytes
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy_request import HEAD_END, MAX_HEAD_BYTES, ProxyRequest, parse_proxy_request
from emostream.service.egress.rtsp_guard import RtspGuard, RtspGuardError

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOPBACK, LOOPBACK_V6 = "127.0.0.1", "::1"

_CHUNK_BYTES = 1 << 16
_CONNECT_SECONDS = 10.0
_ACCEPTED_SECONDS = 0.02  # for connections that are just being accepted to become tasks
_MAX_FAILURES = 1000
_MAX_LOOKUPS = 1000  # at once; threads begin with them
_ACCEPT_SECONDS = 30.0  # FFmpeg connects to a relay at once; an unused relay is closed

_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_LOGIN_WANTED = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="emostream"\r\n'
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
_CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Way:
    """How one source gets through the egress.

    Attributes:
        name: of this way.
        port: on the loopback interface.
        proxy_url: for FFmpeg's option `http_proxy`; contains a secret. Empty for a relay.
    """

    name: str
    port: int
    proxy_url: str = field(default="", repr=False)


class Egress:
    """A context manager for the proxy and the relays; it ends all connections on exit.

    Args:
        policy: checks the host of each connection.
        verify_tls: whether relays verify certificates.
        connect_seconds: time-out of a connection to a source.
        max_growth_bytes: memory that the process may take while sources are opened; None for the default.
    """

    def __init__(
        self,
        policy: SourcePolicy,
        *,
        verify_tls: bool = False,
        connect_seconds: float = _CONNECT_SECONDS,
        max_growth_bytes: int | None = None,
    ) -> None:
        self._policy = policy
        self._connect_seconds = connect_seconds
        self._tls = ssl.create_default_context()
        if not verify_tls:
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE
        self._password = secrets.token_hex(16)
        self._num_ways = itertools.count()
        self._loop = asyncio.new_event_loop()
        # A name server that says nothing must not delay the connections of other sources.
        self._loop.set_default_executor(ThreadPoolExecutor(_MAX_LOOKUPS, "emostream-dns"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="emostream-egress", daemon=True)
        self._servers: set[asyncio.Server] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._failures: OrderedDict[str, SourceError] = OrderedDict()
        growth = default_growth_bytes() if max_growth_bytes is None else max_growth_bytes
        self._memory = OpeningMemory(self._loop, max_bytes=growth, on_cut=self._note_memory)

    def __enter__(self) -> Self:
        """Start listening."""
        if (exceptions := os.environ.pop("no_proxy", None)) is not None:
            # FFmpeg would bypass the proxy for these. Ray's gRPC and Python read the other variables as well.
            os.environ.setdefault("no_grpc_proxy", exceptions)
            os.environ.setdefault("NO_PROXY", exceptions)
        self._thread.start()
        self._server = self._run(self._listen(self._proxy, limit=MAX_HEAD_BYTES))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all connections and the thread."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def proxy(self) -> Way:
        """A way through the proxy for one source; the secret in its URL keeps other processes out."""
        name = f"source-{next(self._num_ways)}"
        port = self._server.sockets[0].getsockname()[1]
        return Way(name, port, f"http://{name}:{self._password}@{LOOPBACK}:{port}")

    def relay(
        self,
        host: str,
        port: int,
        *,
        is_tls: bool,
        is_rtsp: bool,
        has_udp_media: bool = False,
        loopback: str = LOOPBACK,
    ) -> Way:
        """Open a relay for one connection to a host; blocks briefly.

        Args:
            host: checked by the policy when the connection arrives.
            port: on that host.
            is_tls: use TLS towards the host, with its name.
            is_rtsp: forward RTSP only, and end the connection when the server redirects.
            has_udp_media: media come over UDP, and only from the address that the relay connected to.
            loopback: address to listen at; of the host's family for media over UDP.

        Returns:
            The way through it.
        """
        opening = self._open_relay(
            host, port, is_tls=is_tls, is_rtsp=is_rtsp, has_udp_media=has_udp_media, loopback=loopback
        )
        return self._run(opening)

    def opening(self, way: Way) -> contextlib.AbstractContextManager[None]:
        """Around opening a source: its connections end when the process takes too much memory meanwhile."""
        return self._memory.opening(way.name)

    def failure_of(self, way: Way) -> SourceError | None:
        """Why the last connection on this way failed or was ended; None when it was not."""
        return self._failures.get(way.name)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _stop(self) -> None:
        await self._memory.stop()
        await asyncio.sleep(_ACCEPTED_SECONDS)
        for server in list(self._servers):
            server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for writer in self._writers:  # of tasks that were cancelled before they started
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _listen(
        self, serve: Callable[..., Coroutine[Any, Any, None]], *, limit: int, loopback: str = LOOPBACK
    ) -> asyncio.Server:
        """Listen on the loopback interface; each connection is closed after it was served."""

        async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                try:
                    async with _closing(writer):
                        await serve(reader, writer)
                finally:
                    self._writers.discard(writer)

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            task = self._loop.create_task(serve_and_close(reader, writer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

        server = await asyncio.start_server(connected, loopback, 0, limit=limit)
        self._servers.add(server)
        return server

    # --- the proxy for HTTP -------------------------------------------------------------------------------------------

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                head = await reader.readuntil(HEAD_END)
        except (TimeoutError, asyncio.LimitOverrunError):
            return
        request = parse_proxy_request(head)
        name = None if request is None else self._user_of(request)
        if request is None or name is None:
            writer.write(_LOGIN_WANTED if request is not None else _FORBIDDEN)
            return
        if self._memory.is_cut(name):
            writer.write(_FORBIDDEN)
            return
        try:
            upstream = await self._connect(request.host, request.port)
        except SourceError as exc:
            is_blocked = isinstance(exc, SourceRejectedError)
            logger.log(logging.WARNING if is_blocked else logging.INFO, "a connection of a source failed: %s", exc)
            # Which of several hosts: of redirects, and of the parts of a playlist.
            self._note(name, exc if is_blocked else exc.saying(f"{request.host}:{request.port}: {exc}"))
            writer.write(_FORBIDDEN if is_blocked else _UNREACHABLE)
            return
        self._failures.pop(name, None)
        async with _closing(upstream[1]):
            if request.is_tunnel:
                writer.write(_CONNECTED)
            else:
                upstream[1].write(request.head_for_server)
            self._memory.connected(name, upstream[1].transport)
            await _splice(
                (reader, writer),
                upstream,
                is_tunnel=request.is_tunnel,
                on_received=lambda num_bytes: self._memory.received(name, num_bytes),
            )

    def _user_of(self, request: ProxyRequest) -> str | None:
        """The user name in the login of a request; None when the login is missing or wrong."""
        scheme, _, encoded = request.authorization.partition(b" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except binascii.Error:
            return None
        is_known = scheme.lower() == b"basic" and hmac.compare_digest(password, self._password.encode())
        return user.decode("ascii", "replace") if is_known else None

    # --- relays -------------------------------------------------------------------------------------------------------

    async def _open_relay(
        self, host: str, port: int, *, is_tls: bool, is_rtsp: bool, has_udp_media: bool, loopback: str
    ) -> Way:
        name = f"relay-{next(self._num_ways)}"

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            close()  # one connection only
            try:
                upstream = await self._connect(host, port, is_tls=is_tls)
            except SourceError as exc:
                self._note(name, exc)
                return
            async with _closing(upstream[1]):
                media_from = upstream[1].get_extra_info("peername")[0] if has_udp_media else None
                guard = RtspGuard(f"{_bracketed(loopback)}:{local_port}", media_from=media_from) if is_rtsp else None
                try:
                    await _splice((reader, writer), upstream, is_tunnel=True, guard=guard)
                except RtspGuardError as exc:
                    self._note(name, SourceUnavailableError(str(exc)))

        def close() -> None:
            server.close()
            self._servers.discard(server)

        server = await self._listen(serve, limit=_CHUNK_BYTES, loopback=loopback)
        self._loop.call_later(_ACCEPT_SECONDS, close)
        local_port: int = server.sockets[0].getsockname()[1]
        return Way(name, local_port)

    def _note_memory(self, name: str) -> None:
        # Never a rejection: what takes the memory may be another stream of this process.
        text = "opening it took too much memory of the worker, as a playlist or an index without an end does"
        logger.error("%s; its connections were ended", text)
        self._note(name, SourceUnavailableError(text))

    def _note(self, name: str, failure: SourceError) -> None:
        self._failures[name] = failure
        self._failures.move_to_end(name)
        if len(self._failures) > _MAX_FAILURES:
            self._failures.popitem(last=False)

    async def _connect(self, host: str, port: int, *, is_tls: bool = False) -> Streams:
        """Connect to a host.

        Raises:
            SourceRejectedError: it is not allowed, or unknown.
            SourceUnavailableError, SourceTimeoutError: the connection failed.
        """
        addresses = await asyncio.to_thread(self._policy.addresses_of, host, name=host)
        tls: dict[str, Any] = {"ssl": self._tls, "server_hostname": host} if is_tls else {}
        try:
            async with asyncio.timeout(self._connect_seconds):
                sock = await connected_socket(addresses, port)
                try:
                    return await asyncio.open_connection(sock=sock, limit=_CHUNK_BYTES, **tls)
                except BaseException:
                    sock.close()
                    raise
        except ConnectionRefusedError as exc:
            raise SourceUnavailableError("connection refused; is the source running, and is the port right?") from exc
        except TimeoutError as exc:
            raise SourceTimeoutError("no response in time; check the address and the network") from exc
        except OSError as exc:  # includes errors of TLS
            raise SourceUnavailableError(f"cannot be reached: {redact(exc.strerror or str(exc))}") from exc


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def _splice(
    client: Streams,
    server: Streams,
    *,
    is_tunnel: bool,
    guard: RtspGuard | None = None,
    on_received: Callable[[int], None] = lambda num_bytes: None,
) -> None:
    """Forward bytes both ways until one side ends. After a plain HTTP request nothing more is forwarded from the
    client: its next request may be for another host and needs a new connection."""

    async def from_client() -> None:
        while data := await client[0].read(_CHUNK_BYTES):
            if is_tunnel:
                server[1].write(data if guard is None else guard.sent(data))
                await server[1].drain()

    async def from_server() -> None:
        while data := await server[0].read(_CHUNK_BYTES):
            on_received(len(data))
            client[1].write(data if guard is None else guard.received(data))
            await client[1].drain()

    ways = [asyncio.create_task(from_client()), asyncio.create_task(from_server())]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
