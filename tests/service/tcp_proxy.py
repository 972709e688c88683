"""A network between a client and a server that can be cut, held up, and cut off after some bytes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 1 << 14


class TcpProxy:
    """Forwards connections to a port on loopback; an async context manager.

    Args:
        port: of the server.
        max_answer_bytes: connections end after so many bytes of the server's; None never.
        delay_seconds: what the server says comes so much later, as over a long way; it passes as fast as without.
        tls: speaks TLS to the clients.
    """

    def __init__(
        self,
        port: int,
        *,
        max_answer_bytes: int | None = None,
        delay_seconds: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._port = port
        self._tls = tls
        self._max_answer_bytes = max_answer_bytes
        self._delay_seconds = delay_seconds
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.num_connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        await self.cut()

    def hold(self) -> None:
        """Nothing passes any more, and nobody is told: what a pulled cable does."""
        self._flows.clear()

    def let_flow(self) -> None:
        """Everything passes again."""
        self._flows.set()

    async def cut(self) -> None:
        """End all connections there are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.num_connections += 1
        server = None
        with contextlib.suppress(asyncio.CancelledError, OSError):
            server = await asyncio.open_connection("127.0.0.1", self._port)
            ways = [
                asyncio.ensure_future(self._forward(reader, server[1], most=None)),
                asyncio.ensure_future(
                    self._forward(server[0], writer, most=self._max_answer_bytes, delay_seconds=self._delay_seconds)
                ),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, server[1] if server else None):
            if end is not None:
                end.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        most: int | None,
        delay_seconds: float = 0.0,
    ) -> None:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def receive() -> None:
            num_bytes = 0
            while (data := await reader.read(_CHUNK_BYTES)) and (most is None or num_bytes < most):
                await self._flows.wait()
                pieces.put_nowait((loop.time() + delay_seconds, data))
                num_bytes += len(data)
            pieces.put_nowait((loop.time() + delay_seconds, b""))

        receiving = asyncio.ensure_future(receive())
        try:
            while (piece := await pieces.get())[1]:
                await asyncio.sleep(piece[0] - loop.time())
                await self._flows.wait()
                writer.write(piece[1])
                await writer.drain()
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
