"""Interface and one stream worker as a process of their own, without Ray: what the console needs of the service.

    python -m tests.service.console.service_process REDIS_URL PORT SETTINGS_AS_JSON [worker]

It says `ready` when the interface answers and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from emostream.config import load_settings
from emostream.service.api.app import build_api
from emostream.service.worker.open import open_worker
from tests.ports import unused_port

_STOP_SECONDS = 20.0


@dataclass(slots=True)
class Service:
    """A service that can be killed and started again at the same place.

    Attributes:
        redis_url: registry and events.
        port: of the interface, on loopback.
        settings: all but Redis.
        with_worker: whether streams run, which needs the models.
    """

    redis_url: str
    port: int
    settings: dict[str, Any]
    with_worker: bool = True
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [sys.executable, "-m", "tests.service.console.service_process"]
        command += [self.redis_url, str(self.port), json.dumps(self.settings)] + ["worker"] * self.with_worker
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Gone without a word."""
        assert self.process is not None
        self.process.kill()
        self._wait()

    def stop(self) -> None:
        """End in order, or at once if that takes too long."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None


@contextlib.contextmanager
def running_service(redis_url: str, *, with_worker: bool = True, **settings: Any) -> Iterator[Service]:
    """A service with these settings."""
    service = Service(redis_url, unused_port(), settings, with_worker)
    service.start()
    try:
        yield service
    finally:
        service.stop()


async def _serve(redis_url: str, port: int, given: dict[str, Any], *, with_worker: bool) -> None:
    settings = load_settings(**given)
    app = build_api(settings, redis_url=redis_url)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if with_worker:
                worker = open_worker(settings, redis_url=redis_url, worker_id=f"worker-{port}")
                await stack.enter_async_context(worker)
            await stack.enter_async_context(inner(app))
            yield

    app.router.lifespan_context = lifespan
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), with_worker="worker" in sys.argv[4:]))
