"""What the proxy of Ray Serve gets from us, on a real server of its kind: nobody stands still in it for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

pytest.importorskip("ray")

import uvicorn
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emostream.deployments import http_proxy
from emostream.deployments.http_proxy import IdleConnections, PatientProtocol, ToldProgress, harden_proxy
from emostream.service.api.answer_window import PROGRESS, WINDOW_HEADER, AnswerWindow
from tests.ports import unused_port

pytestmark = pytest.mark.integration

WAIT_SECONDS = 60.0  # a busy machine takes its time; nothing depends on how long it takes


def limited(**limits: float) -> type[PatientProtocol]:
    """Our protocol with other limits."""
    return type("Limited", (PatientProtocol,), limits)


@contextlib.asynccontextmanager
async def served(app: ASGIApp, *, protocol: type[asyncio.Protocol] = PatientProtocol) -> AsyncIterator[int]:
    """The port of the application on a server with our protocol."""
    config = uvicorn.Config(app, port=unused_port(), http=protocol, lifespan="off", log_level="critical")
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.01)
    try:
        yield config.port
    finally:
        server.should_exit = True
        await serving


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of the connection."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(WAIT_SECONDS):
            await reader.read()
    return True


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHo"],
    ids=["nothing", "half a head", "half a head after a whole one"],
)
async def test_a_head_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    async with served(hello, protocol=limited(head_seconds=0.3)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await is_closed(reader)
        writer.close()


BODY_TO_COME = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        BODY_TO_COME + b"Content-Length: 9\r\n\r\n",
        BODY_TO_COME + b"Content-Length: 9\r\n\r\n1",
        BODY_TO_COME + b"Transfer-Encoding: chunked\r\n\r\n9\r\n1",
        BODY_TO_COME + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: ",
        BODY_TO_COME + b"Transfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
)
async def test_an_unread_body_ends_the_connection(sent: bytes) -> None:
    """The answer came without it, as a refusal does."""
    async with served(hello) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            writer.write(b"2")
            await writer.drain()
        assert await is_closed(reader)
        writer.close()


CHUNKED = BODY_TO_COME + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "more",
    [b"0\r\nTrailer: ", b"1;extension=", b"0\r\n" + b"a: b\r\n" * 100, b"1" + b"0" * 100],
    ids=["trailer", "extension", "trailers", "size"],
)
async def test_what_comes_beside_a_body_has_a_bound(more: bytes) -> None:
    """The application waits for the end of the body, which never comes."""

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async with served(reading) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED + more)
        num_sent = 0
        with contextlib.suppress(ConnectionError):
            while num_sent < 64 << 20:
                filler = b"x" * 65536 if b"\r\na: " not in more else b"a: b\r\n" * 10_000
                writer.write(filler)
                num_sent += len(filler)
                await writer.drain()
        assert num_sent < 64 << 20
        assert await is_closed(reader)
        writer.close()


async def test_trailers_are_no_headers_and_small_chunks_arrive() -> None:
    got: list[bytes] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        has_more = True
        while has_more:
            message = await receive()
            got.append(message["body"])
            has_more = message["more_body"]
        await PlainTextResponse(str(dict(scope["headers"]).get(b"authorization")))(scope, receive, send)

    async with served(reading) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED + b"1\r\nx\r\n" * 50_000 + b"0\r\nAuthorization: Bearer forged\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: second\r\n\r\n")
        assert (await reader.readuntil(b"None")).startswith(b"HTTP/1.1 200")
        assert (await reader.readuntil(b"b'second'")).startswith(b"HTTP/1.1 200")
        assert b"".join(got) == b"x" * 50_000
        writer.close()


async def test_requests_that_wait_on_one_connection_have_a_bound() -> None:
    """Each takes thousand times what its line takes, and the first one may last for hours."""
    go_on = asyncio.Event()

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/long":
            await go_on.wait()
        await hello(scope, receive, send)

    short = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(answering) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n" + 20 * short)
        greedy, greedy_writer = await asyncio.open_connection("127.0.0.1", port)
        greedy_writer.write(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n" + 200 * short)
        assert await is_closed(greedy)
        go_on.set()
        for _ in range(21):
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        for each in (writer, greedy_writer):
            each.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_idle_connections_have_a_bound_and_new_ones_get_in(sent: bytes) -> None:
    """Also those that were answered and are kept for the next request; nobody in a request is touched."""
    idle = IdleConnections(30, per_address=20)
    go_on = asyncio.Event()

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/long":
            await go_on.wait()
        await hello(scope, receive, send)

    async with (
        contextlib.AsyncExitStack() as stack,
        served(answering, protocol=type("Bounded", (PatientProtocol,), {"idle": idle})) as port,
    ):

        async def connect(data: bytes) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(data)
            return reader

        in_request = await connect(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        readers = [await connect(sent) for _ in range(50)]
        assert all(await asyncio.gather(*map(is_closed, readers[:20])))
        assert len(idle) <= 20
        new = await connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await new.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        go_on.set()
        assert (await in_request.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


def test_of_all_idle_connections_the_oldest_go() -> None:
    class Connection:
        is_reset = False

        def reset(self) -> None:
            self.is_reset = True

    idle, connections = IdleConnections(5, per_address=2), [Connection() for _ in range(8)]
    for number, connection in enumerate(connections):
        idle.add(connection, address=str(number // 2))
    assert [connection.is_reset for connection in connections] == [True] * 3 + [False] * 5
    idle.discard(connections[0])
    idle.add(connections[3], address="1")
    idle.discard(connections[7])
    assert len(idle) == 4


async def test_a_head_without_end_ends_the_connection() -> None:
    async with served(hello) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (100 << 10))
        assert await is_closed(reader)
        writer.close()


async def test_connections_are_kept_between_requests() -> None:
    async with served(hello, protocol=limited(head_seconds=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.4)  # longer than a head may take
        writer.close()


@contextlib.contextmanager
def standing_reader(port: int, path: str = "/") -> Any:
    """A connection that asks and reads nothing of the answer."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield connection


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def is_reset(connection: socket.socket) -> bool:
    established = 1
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != established


@pytest.mark.parametrize("num_bytes", [None, 2 << 20], ids=["without end", "whole"])
async def test_a_reader_that_stands_still_is_cut_off(num_bytes: int | None) -> None:
    ended = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0)

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        answer = StreamingResponse(parts()) if num_bytes is None else PlainTextResponse(b"x" * num_bytes)
        try:
            await answer(scope, receive, send)
        finally:
            ended.set()

    async with served(answering, protocol=limited(stall_seconds=0.3)) as port:
        with standing_reader(port) as connection:
            await eventually(lambda: is_reset(connection))
            await eventually(ended.is_set)


async def test_a_slow_reader_is_not_cut_off() -> None:
    body = os.urandom(3 << 20)
    async with served(PlainTextResponse(body), protocol=limited(stall_seconds=2.0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        read = b""
        while chunk := await reader.read(512 << 10):
            read += chunk
            await asyncio.sleep(0.5)
        assert read.endswith(body)
        writer.close()


class TakesEverything:
    """Stands where Serve stands, between its proxy and a replica: a queue without a bound that is sent from."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.num_bytes = 0  # in the queue
        self.most_bytes = 0
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = scope["headers"]
        queue: asyncio.Queue[Message | None] = asyncio.Queue()

        async def put(message: Message) -> None:
            self.num_bytes += len(message.get("body", b""))
            self.most_bytes = max(self.most_bytes, self.num_bytes)
            queue.put_nowait(message)

        async def answer() -> None:
            await self._app(scope, receive, put)
            queue.put_nowait(None)

        answering = asyncio.create_task(answer())
        try:
            while (message := await queue.get()) is not None:
                await send(message)
                self.num_bytes -= len(message.get("body", b""))
        finally:
            answering.cancel()


class Pictures:
    """An answer of parts without end, as fast as they are taken."""

    def __init__(self) -> None:
        self.num_made = 0
        self.is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(self._parts())(scope, receive, send)

    async def _parts(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.num_made += 1
                yield b"x" * 50_000
                await asyncio.sleep(0.001)
        finally:
            self.is_over = True


@pytest.mark.parametrize("is_slow", [False, True], ids=["stands still", "slow"])
async def test_nothing_piles_up_between_proxy_and_replica(is_slow: bool) -> None:
    pictures = Pictures()
    between = TakesEverything(AnswerWindow(pictures, max_seconds=600.0 if is_slow else 1.0))
    async with served(ToldProgress(between), protocol=limited(stall_seconds=600.0)) as port:
        with standing_reader(port) as connection:
            if is_slow:
                connection.setblocking(False)
                for _ in range(50):
                    with contextlib.suppress(BlockingIOError):
                        connection.recv(100_000)
                    await asyncio.sleep(0.02)
                assert not pictures.is_over
            else:
                await eventually(lambda: pictures.is_over)
            assert between.most_bytes < 400_000  # the window and a part


async def test_a_reader_that_goes_away_ends_the_answer() -> None:
    pictures = Pictures()
    async with served(ToldProgress(TakesEverything(AnswerWindow(pictures)))) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(1 << 20)  # more than the window
        writer.close()
        await eventually(lambda: pictures.is_over)


async def test_clients_do_not_speak_for_the_proxy() -> None:
    between = TakesEverything(AnswerWindow(hello))
    async with served(ToldProgress(between)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        forged = "x-emostream-window: 1\r\nX-Request-Disconnect-Disabled: ?1\r\nX-Request-Timeout-Seconds: 0\r\n"
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{forged}\r\n".encode())
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert WINDOW_HEADER not in answer
    assert [value for name, value in between.headers if name == WINDOW_HEADER] == [b"262144"]
    assert not {name for name, _ in between.headers} & {b"x-request-disconnect-disabled", b"x-request-timeout-seconds"}


async def test_other_applications_get_no_progress_messages() -> None:
    heard: list[str] = []

    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        async def listening() -> None:
            while True:
                heard.append((await receive())["type"])
                if heard[-1] == "http.disconnect":
                    return

        listener = asyncio.create_task(listening())
        await PlainTextResponse(b"x" * (1 << 20))(scope, receive, send)
        await listener

    async with served(ToldProgress(other)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert len(await reader.read()) > 1 << 20
        writer.close()
    assert PROGRESS not in heard


def test_serve_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.serve._private.http_util import validate_http_proxy_callback_return
    from ray.serve._private.utils import call_function_from_import_path

    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    monkeypatch.setattr(uvicorn.config, "HTTP_PROTOCOLS", dict(uvicorn.config.HTTP_PROTOCOLS))
    (middleware,) = validate_http_proxy_callback_return(call_function_from_import_path(http_proxy.ENVIRONMENT[1]))
    assert repr(middleware) == repr(Middleware(ToldProgress))
    config = uvicorn.Config(hello)
    config.load()
    assert config.http_protocol_class is PatientProtocol
    assert config.forwarded_allow_ips == ""
    os.environ["FORWARDED_ALLOW_IPS"] = "192.0.2.1"
    harden_proxy()
    assert os.environ["FORWARDED_ALLOW_IPS"] == "192.0.2.1", "the operator names proxies that may say who asked"
