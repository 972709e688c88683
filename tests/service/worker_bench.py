"""A registry and workers, in this process and in others, for tests of what workers do."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from emostream.decode.blocked_calls import BLOCKED_CALLS, BlockedCalls
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.publish.redis.reader import RedisReader
from emostream.publish.sink import EventSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import RegistryView, StreamRecord
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry, StreamStatus
from emostream.service.worker.host import StreamHost
from emostream.service.worker.worker import StreamWorker
from tests.service.conftest import SETTINGS
from tests.service.streams import EndlessSource, ScriptedParts

Check = Callable[[], Awaitable[bool]]


async def until(check: Check, *, timeout_seconds: float = 30.0) -> float:
    """Seconds until the check is true."""
    started = time.monotonic()
    async with asyncio.timeout(timeout_seconds):
        while not await check():
            await asyncio.sleep(0.05)
    return time.monotonic() - started


class Bench:
    """A registry, a look at it, and workers in this process."""

    def __init__(self, store: RegistryStore) -> None:
        self.store = store
        self.registry = StreamRegistry(store)
        self._looking = StreamLeases(store, worker_id="looker", max_streams=0, ttl_seconds=1)
        self.workers: list[tuple[StreamWorker, asyncio.Task[None]]] = []

    async def look(self) -> RegistryView:
        return await self._looking.look()

    async def status(self, stream_id: str) -> StreamStatus:
        return await self.registry.status(stream_id, await self.look())

    async def statuses(self) -> list[StreamStatus]:
        return await self.registry.statuses(await self._looking.look())

    async def is_state(self, stream_id: str, state: StreamState) -> bool:
        return (await self.status(stream_id)).state is state

    def start_worker(
        self,
        worker_id: str,
        *,
        sink: EventSink,
        source_of: Callable[[StreamSpec], FrameSource] = lambda spec: EndlessSource(kind=spec.kind),
        max_streams: int = 10,
        store: RegistryStore | None = None,
        leases: StreamLeases | None = None,
        parts: ScriptedParts | None = None,
        clock: Callable[[], float] = time.monotonic,
        blocked_seconds: float = 60.0,
        blocked_calls: BlockedCalls = BLOCKED_CALLS,
    ) -> StreamWorker:
        store = store or self.store
        leases = leases or StreamLeases(store, worker_id=worker_id, max_streams=max_streams, ttl_seconds=2.0)
        parts = parts or ScriptedParts(source_of)
        host = StreamHost(
            parts, sink=sink, worker_id=worker_id, send_preview=store.publish, blocked_seconds=blocked_seconds
        )
        worker = StreamWorker(
            store,
            leases=leases,
            host=host,
            worker_id=worker_id,
            heartbeat_seconds=0.05,
            blocked_calls=blocked_calls,
            clock=clock,
        )
        self.workers.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def close(self) -> None:
        for worker, task in self.workers:
            await worker.drain(timeout_seconds=5)
            await task


def file_record(stream_id: str = "clip") -> StreamRecord:
    return StreamRecord(StreamSpec(stream_id, "/clip.mp4", StreamKind.FILE))


async def events_of(url: str) -> dict[str, list[tuple[int, int]]]:
    """(epoch, frame index) of all events by stream, in order."""
    found: dict[str, list[tuple[int, int]]] = {}
    async with RedisReader(SETTINGS, redis_url=url, start="start", follow=False) as reader:
        async for entry in reader:
            if isinstance(entry.event, EmotionEvent):
                found.setdefault(entry.event.stream_id, []).append((entry.event.epoch, entry.event.frame_index))
    return found


@pytest.fixture
async def bench(store: RegistryStore) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    await bench.close()


@contextlib.asynccontextmanager
async def worker_process(
    redis_url: str, worker_id: str, *, is_broken: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a process of its own; killed at the end. A broken one crashes when it looks at a picture."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.service.worker_process", redis_url, worker_id),
        *(["broken"] if is_broken else []),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
