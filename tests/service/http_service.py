"""The HTTP interface behind a real server on loopback, for what lasts: streams of events and pictures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from emostream.service.api.app import build_api
from emostream.service.api.context import Waits
from tests.ports import unused_port


@contextlib.asynccontextmanager
async def served_api(settings: Any, *, redis_url: str, waits: Waits | None = None) -> AsyncIterator[str]:
    """The URL of the interface, in this event loop, for as long as the context lasts."""
    port = unused_port()
    config = uvicorn.Config(
        build_api(settings, redis_url=redis_url, waits=waits),
        host="127.0.0.1",
        port=port,
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())  # without taking over the signals of the test run
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving
