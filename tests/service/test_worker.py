"""Workers in this process and in child processes: they take streams over, hand them over, and publish nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from emostream.decode.source import FrameSource
from emostream.errors import SinkUnavailableError
from emostream.event import EmotionEvent, StatusEvent
from emostream.publish.embedded_redis import EmbeddedRedis
from emostream.publish.redis_reader import RedisReader
from emostream.publish.redis_sink import RedisSink
from emostream.publish.sink import EventSink
from emostream.service.leases import StreamLeases
from emostream.service.record import RegistryView, StreamRecord
from emostream.service.registry import StreamRegistry, StreamStatus
from emostream.service.store import RegistryStore
from emostream.service.stream_host import StreamHost
from emostream.service.worker import StreamWorker
from emostream.stream import StreamKind, StreamSpec, StreamState
from emostream.testing import CollectingSink, ScriptedSource, gray_frames
from tests.service.conftest import SETTINGS
from tests.service.streams import EndlessSource, ScriptedParts, live_record

pytestmark = pytest.mark.integration

Check = Callable[[], Awaitable[bool]]


async def until(check: Check, *, timeout_seconds: float = 10.0) -> float:
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
    ) -> StreamWorker:
        leases = StreamLeases(self.store, worker_id=worker_id, max_streams=max_streams, ttl_seconds=2.0)
        host = StreamHost(ScriptedParts(source_of), sink=sink, worker_id=worker_id, send_preview=self.store.publish)
        worker = StreamWorker(self.store, leases=leases, host=host, worker_id=worker_id, heartbeat_seconds=0.05)
        self.workers.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def close(self) -> None:
        for worker, task in self.workers:
            await worker.drain(timeout_seconds=5)
            await task


@pytest.fixture
async def bench(store: RegistryStore) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    await bench.close()


def file_record(stream_id: str = "clip") -> StreamRecord:
    return StreamRecord(StreamSpec(stream_id, "/clip.mp4", StreamKind.FILE))


async def test_a_stream_from_wish_to_removal(bench: Bench) -> None:
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink)
    await bench.registry.create(live_record())
    await until(lambda: bench.is_state("door", StreamState.RUNNING))

    async def has_figures() -> bool:
        report = (await bench.status("door")).report
        return report is not None and report.num_frames > 0 and report.measured_fps > 0

    await until(has_figures)
    await bench.registry.remove("door")

    async def is_ended() -> bool:
        return sink.statuses[-1].state is StreamState.ENDED and not await bench.store.hash_of(
            "emostream:{registry}:leases"
        )

    await until(is_ended)


async def test_changes_reach_a_running_stream(bench: Bench) -> None:
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink)
    await bench.registry.create(live_record())
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    epoch = (await bench.status("door")).lease
    await bench.registry.change("door", lambda record: replace(record, is_paused=True))
    await asyncio.sleep(0.3)
    num_events = len(sink.events)
    await asyncio.sleep(0.2)
    assert len(sink.events) == num_events
    await bench.registry.change("door", lambda record: replace(record, is_paused=False))

    async def goes_on() -> bool:
        return len(sink.events) > num_events

    await until(goes_on)
    assert (await bench.status("door")).lease.epoch == epoch.epoch  # type: ignore[union-attr]


async def test_a_finished_file_is_finished(bench: Bench) -> None:
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink, source_of=lambda spec: ScriptedSource(gray_frames(12)))
    await bench.registry.create(file_record())
    await until(lambda: bench.is_state("clip", StreamState.ENDED))
    await asyncio.sleep(0.3)
    assert len(sink.events) == 12


async def test_a_sink_that_is_away_is_tried_again_in_a_new_epoch(bench: Bench) -> None:
    sink = CollectingSink(failures=[SinkUnavailableError("away")])
    bench.start_worker("w1", sink=sink)
    await bench.registry.create(live_record())

    async def publishes() -> bool:
        return bool(sink.events)

    await until(publishes)
    lease = (await bench.status("door")).lease
    assert lease is not None
    assert sink.events[0].epoch == lease.epoch > sink.statuses[0].epoch


async def test_a_drained_worker_hands_over(bench: Bench) -> None:
    sinks = CollectingSink(), CollectingSink()
    first = bench.start_worker("w1", sink=sinks[0])
    for number in range(4):
        await bench.registry.create(live_record(f"s{number}"))

    async def all_run() -> bool:
        return all(status.state is StreamState.RUNNING for status in await bench.statuses())

    await until(all_run)
    bench.start_worker("w2", sink=sinks[1])
    await first.drain(timeout_seconds=5)

    async def all_run_on_second() -> bool:
        statuses = await bench.statuses()
        return await all_run() and all(status.lease and status.lease.worker_id == "w2" for status in statuses)

    assert await until(all_run_on_second) < 2


async def test_the_excess_waits_and_a_new_worker_takes_it(bench: Bench) -> None:
    bench.start_worker("w1", sink=CollectingSink(), max_streams=2)
    for number in range(3):
        await bench.registry.create(live_record(f"s{number}"))

    async def num_running(expected: int) -> bool:
        return sum(status.state is StreamState.RUNNING for status in await bench.statuses()) == expected

    await until(lambda: num_running(2))
    waiting = [status for status in await bench.statuses() if status.lease is None]
    assert "workers are full" in waiting[0].detail
    bench.start_worker("w2", sink=CollectingSink(), max_streams=2)
    await until(lambda: num_running(3))


@contextlib.asynccontextmanager
async def worker_process(redis_url: str, worker_id: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a process of its own; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.service.worker_process", redis_url, worker_id
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def events_of(url: str) -> dict[str, list[tuple[int, int]]]:
    """(epoch, frame index) of all events by stream, in order."""
    found: dict[str, list[tuple[int, int]]] = {}
    async with RedisReader(SETTINGS, redis_url=url, start="start", follow=False) as reader:
        async for entry in reader:
            if isinstance(entry.event, EmotionEvent):
                found.setdefault(entry.event.stream_id, []).append((entry.event.epoch, entry.event.frame_index))
    return found


async def test_streams_of_a_killed_worker_go_on_elsewhere(bench: Bench, redis_server: EmbeddedRedis) -> None:
    url = redis_server.url
    for number in range(4):
        await bench.registry.create(live_record(f"s{number}"))

    async def spread() -> set[str]:
        return {status.lease.worker_id for status in await bench.statuses() if status.lease}

    async def run_on(*workers: str) -> bool:
        statuses = await bench.statuses()
        return await spread() == set(workers) and all(status.state is StreamState.RUNNING for status in statuses)

    async with worker_process(url, "w1") as first, worker_process(url, "w2") as second:
        await until(lambda: run_on("w1", "w2"), timeout_seconds=30)
        await asyncio.sleep(1)
        before = await events_of(url)
        first.send_signal(signal.SIGKILL)

        async def all_publish() -> bool:
            now = await events_of(url)
            newest = {status.record.stream_id: status.lease for status in await bench.statuses()}
            return all(
                (lease := newest[stream_id]) is not None
                and lease.worker_id == "w2"
                and now[stream_id][-1][0] == lease.epoch
                and len(now[stream_id]) > len(before[stream_id])
                for stream_id in before
            )

        await until(all_publish, timeout_seconds=60)  # within 10 s on a machine of its own
        second.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(second.wait(), 10) == 0
    after = await events_of(url)
    for stream_id, entries in after.items():
        assert entries == sorted(set(entries)), f"{stream_id} has events twice or out of order"
    assert await bench.store.hash_of("emostream:{registry}:leases") == {}


async def test_a_file_goes_on_in_another_worker_with_every_frame_once(
    bench: Bench, redis_server: EmbeddedRedis
) -> None:
    url = redis_server.url
    record = file_record()
    await bench.registry.create(replace(record, spec=replace(record.spec, max_frames=100)))

    async def has_events() -> bool:
        return len((await events_of(url)).get("clip", [])) > 20

    async with worker_process(url, "w1") as first:
        await until(has_events, timeout_seconds=30)
        first.send_signal(signal.SIGKILL)
        async with RedisSink(SETTINGS, redis_url=url) as sink:
            bench.start_worker("w2", sink=sink)
            await until(lambda: bench.is_state("clip", StreamState.ENDED), timeout_seconds=20)
    entries = (await events_of(url))["clip"]
    assert [index for _, index in entries] == list(range(100))
    assert len({epoch for epoch, _ in entries}) == 2


async def test_life_cycle_events_carry_the_epoch(bench: Bench, redis_server: EmbeddedRedis) -> None:
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        bench.start_worker("w1", sink=sink)
        await bench.registry.create(live_record())
        await until(lambda: bench.is_state("door", StreamState.RUNNING))
        lease = (await bench.status("door")).lease
        await bench.close()
        bench.workers.clear()
    reader = RedisReader(SETTINGS, redis_url=redis_server.url, start="start", follow=False, with_status=True)
    async with reader:
        statuses = [entry.event async for entry in reader if isinstance(entry.event, StatusEvent)]
    assert lease is not None
    assert [(event.state, event.epoch) for event in statuses] == [
        (StreamState.RUNNING, lease.epoch),
        (StreamState.PENDING, lease.epoch),
    ]
