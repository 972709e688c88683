"""Workers in this process and in child processes: they take streams over, hand them over, and publish nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from emostream.decode.source import FrameSource
from emostream.errors import EventRejectedError, SinkUnavailableError, SourceRejectedError, SourceUnavailableError
from emostream.event import EmotionEvent, StatusEvent
from emostream.frame import Frame
from emostream.publish.embedded_redis import EmbeddedRedis
from emostream.publish.redis_reader import RedisReader
from emostream.publish.redis_sink import RedisSink
from emostream.publish.sink import EventSink
from emostream.service.leases import StreamLeases
from emostream.service.record import RegistryView, StreamRecord
from emostream.service.registry import StreamRegistry, StreamStatus
from emostream.service.store import LEASES, RegistryStore
from emostream.service.stream_host import StreamHost
from emostream.service.worker import StreamWorker
from emostream.stream import StreamKind, StreamSpec, StreamState
from emostream.testing import CollectingSink, ScriptedSource, gray_frames
from tests.publish import samples
from tests.service.conftest import SETTINGS
from tests.service.streams import EndlessSource, ScriptedParts, live_record
from tests.service.tcp_proxy import TcpProxy

pytestmark = pytest.mark.integration

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
    ) -> StreamWorker:
        store = store or self.store
        leases = leases or StreamLeases(store, worker_id=worker_id, max_streams=max_streams, ttl_seconds=2.0)
        parts = parts or ScriptedParts(source_of)
        host = StreamHost(parts, sink=sink, worker_id=worker_id, send_preview=store.publish)
        worker = StreamWorker(store, leases=leases, host=host, worker_id=worker_id, heartbeat_seconds=0.05, clock=clock)
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
    leases = StreamLeases(bench.store, worker_id="w1", max_streams=10, ttl_seconds=60.0)  # they do not run out
    first = bench.start_worker("w1", sink=sinks[0], leases=leases)
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

    await until(all_run_on_second)


class Hanging(EndlessSource):
    """One picture, and then a read that does not come back."""

    def __init__(self, let_go: threading.Event) -> None:
        super().__init__()
        self._let_go = let_go

    def __iter__(self) -> Iterator[Frame]:
        yield next(super().__iter__())
        self._let_go.wait(60)


async def test_a_stream_that_hangs_holds_up_no_other_at_a_hand_over(bench: Bench) -> None:
    let_go = threading.Event()
    first = bench.start_worker(
        "w1",
        sink=CollectingSink(),
        leases=StreamLeases(bench.store, worker_id="w1", max_streams=10, ttl_seconds=60.0),  # they do not run out
        source_of=lambda spec: Hanging(let_go) if spec.stream_id == "hanging" else EndlessSource(),
    )
    for name in ("hanging", "s0", "s1"):
        await bench.registry.create(live_record(name))

    async def run_on(worker_id: str, *names: str) -> bool:
        statuses = [await bench.status(name) for name in names]
        return all(
            status.state is StreamState.RUNNING and status.lease is not None and status.lease.worker_id == worker_id
            for status in statuses
        )

    await until(lambda: run_on("w1", "hanging", "s0", "s1"))
    draining = asyncio.create_task(first.drain(timeout_seconds=60))
    bench.start_worker("w2", sink=CollectingSink())
    await until(lambda: run_on("w2", "s0", "s1"))
    assert not draining.done()
    let_go.set()
    await draining
    await until(lambda: run_on("w2", "hanging", "s0", "s1"))


async def test_that_a_source_has_worked_is_known_to_all_later_owners(bench: Bench) -> None:
    await bench.registry.create(live_record())
    known = []
    for number in range(3):
        # The second one never gets it open.
        opens = ScriptedSource([], open_error=SourceUnavailableError("away")) if number == 1 else EndlessSource()
        parts = ScriptedParts(lambda spec, opens=opens: opens)  # type: ignore[misc]
        worker = bench.start_worker(f"w{number}", sink=CollectingSink(), parts=parts)
        wanted = StreamState.RECONNECTING if number == 1 else StreamState.RUNNING
        await until(lambda wanted=wanted: bench.is_state("door", wanted))  # type: ignore[misc]
        await worker.drain(timeout_seconds=20)
        known.append(parts.have_worked["door"])
    assert known == [False, True, True]
    await bench.registry.remove("door")
    await bench.registry.create(live_record())
    parts = ScriptedParts()
    bench.start_worker("w3", sink=CollectingSink(), parts=parts)
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    assert not parts.have_worked["door"], "a new wish has not been tried"


async def test_a_stream_made_anew_just_before_it_is_claimed(bench: Bench) -> None:
    wrong = live_record()
    right = replace(wrong, spec=replace(wrong.spec, url="rtsp://camera/right"))

    class LateLeases(StreamLeases):
        """The wish changes between the look at the registry and the first claim."""

        async def claim(self, stream_ids: Sequence[str]) -> dict[str, int]:
            if stream_ids and not self.stats.num_claimed:
                await bench.registry.remove("door")
                await bench.registry.create(right)
            return await super().claim(stream_ids)

    def source_of(spec: StreamSpec) -> FrameSource:
        if spec.url == wrong.spec.url:
            return ScriptedSource([], open_error=SourceRejectedError("there is no such path"))
        return EndlessSource()

    await bench.registry.create(wrong)
    leases = LateLeases(bench.store, worker_id="w1", max_streams=10, ttl_seconds=20.0)
    bench.start_worker("w1", sink=CollectingSink(), leases=leases, source_of=source_of)

    async def is_settled() -> bool:
        return (await bench.status("door")).state in (StreamState.RUNNING, StreamState.FAILED)

    await until(is_settled)
    assert (await bench.status("door")).state is StreamState.RUNNING


async def test_a_stream_that_is_claimed_while_its_worker_is_drained(bench: Bench) -> None:
    claimed, go_on = asyncio.Event(), asyncio.Event()

    class SlowLeases(StreamLeases):
        """Hears late what it claimed."""

        async def claim(self, stream_ids: Sequence[str]) -> dict[str, int]:
            won = await super().claim(stream_ids)
            if won:
                claimed.set()
                await go_on.wait()
            return won

    sink = CollectingSink()
    leases = SlowLeases(bench.store, worker_id="w1", max_streams=10, ttl_seconds=60.0)
    worker = bench.start_worker("w1", sink=sink, leases=leases)
    await bench.registry.create(live_record())
    await claimed.wait()
    asyncio.get_running_loop().call_later(0.2, go_on.set)
    await worker.drain(timeout_seconds=20)
    assert await bench.store.hash_of(LEASES) == {}, "the stream would wait for its lease to run out"
    assert (await bench.look()).workers == {}
    assert not sink.statuses, "nobody would stop it"


async def test_a_defect_that_one_stream_meets_keeps_no_other_from_starting(bench: Bench) -> None:
    def source_of(spec: StreamSpec) -> FrameSource:
        if spec.stream_id == "odd":
            raise RuntimeError("cannot happen, near rtsp://user:secret@camera")
        return EndlessSource()

    for name in ("odd", "s0", "s1", "s2"):
        await bench.registry.create(live_record(name))
    bench.start_worker("w1", sink=CollectingSink(), source_of=source_of)

    async def others_run() -> bool:
        states = {status.record.stream_id: status.state for status in await bench.statuses()}
        return states.pop("odd") is StreamState.FAILED and set(states.values()) == {StreamState.RUNNING}

    await until(others_run)
    detail = (await bench.status("odd")).detail
    assert "internal error: RuntimeError" in detail
    assert "secret" not in detail


async def test_a_stream_that_ran_well_is_tried_again_soon(bench: Bench) -> None:
    now_seconds = 0.0
    sink = CollectingSink()
    leases = StreamLeases(bench.store, worker_id="w1", max_streams=10, ttl_seconds=60.0)  # never lost
    bench.start_worker("w1", sink=sink, leases=leases, clock=lambda: now_seconds)
    await bench.registry.create(live_record())
    epoch = 0
    for _ in range(6):  # the pause would be up to 16 s by then

        async def publishes(epoch: int = epoch) -> bool:
            return bool(sink.events) and sink.events[-1].epoch > epoch

        await until(publishes)
        epoch = sink.events[-1].epoch
        now_seconds += 31.0
        sink.failures.append(SinkUnavailableError("away"))
        await until(lambda: bench.is_state("door", StreamState.RECONNECTING))
        now_seconds += 0.5


@contextlib.asynccontextmanager
async def store_through(network: TcpProxy, redis_server: EmbeddedRedis) -> AsyncIterator[RegistryStore]:
    """A connection to the registry that can be cut."""
    url = redis_server.url.replace(str(redis_server.port), str(network.port))
    async with RegistryStore(SETTINGS, redis_url=url, max_retry_seconds=0) as store:
        yield store


async def test_workers_keep_their_streams_over_an_outage_of_the_registry(
    bench: Bench, redis_server: EmbeddedRedis
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        networks = [await stack.enter_async_context(TcpProxy(redis_server.port)) for _ in range(2)]
        sinks = [CollectingSink() for _ in networks]
        for number, network in enumerate(networks):
            store = await stack.enter_async_context(store_through(network, redis_server))
            # Their clocks go slowly, so that the one waits for the other for as long as this test takes.
            clock = lambda: time.monotonic() / 100  # noqa: E731
            leases = StreamLeases(store, worker_id=f"w{number}", max_streams=10, ttl_seconds=5.0)
            bench.start_worker(f"w{number}", sink=sinks[number], store=store, leases=leases, clock=clock)

        async def both_live() -> bool:
            return (await bench.look()).workers.keys() == {"w0", "w1"}

        await until(both_live)
        for number in range(4):  # who sees these knows the other worker
            await bench.registry.create(live_record(f"s{number}"))

        async def owners() -> list[str]:
            return sorted(lease.worker_id for lease in (await bench.look()).leases.values())

        async def are_owned_by(*expected: str) -> bool:
            return await owners() == list(expected)

        async def all_run() -> bool:
            return all(len({event.stream_id for event in sink.events}) >= 2 for sink in sinks)

        await until(all_run)
        await until(lambda: are_owned_by("w0", "w0", "w1", "w1"))
        before = (await bench.look()).leases
        for network in networks:
            network.hold()
            await network.cut()
        await until(are_owned_by, timeout_seconds=20)
        networks[0].let_flow()
        await networks[0].cut()
        await until(lambda: are_owned_by("w0", "w0"), timeout_seconds=20)
        await asyncio.sleep(0.5)  # it looks ten times
        assert await owners() == ["w0", "w0"], "the other runs on, it only could not say so"
        networks[1].let_flow()
        await networks[1].cut()
        await until(lambda: are_owned_by("w0", "w0", "w1", "w1"), timeout_seconds=20)
        assert (await bench.look()).leases == before, "each in the run that it was in"
        await bench.close()
        bench.workers.clear()


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


async def test_an_owner_that_wakes_up_late_publishes_no_frame_of_a_file_twice(
    bench: Bench, redis_server: EmbeddedRedis
) -> None:
    await bench.registry.create(file_record())
    asleep = StreamLeases(bench.store, worker_id="asleep", max_streams=1, ttl_seconds=0.5)
    (epoch,) = (await asleep.claim(["clip"])).values()
    refused: list[EventRejectedError] = []
    loop = asyncio.get_running_loop()
    async with (
        RedisSink(SETTINGS, redis_url=redis_server.url) as sink,
        RedisSink(SETTINGS, redis_url=redis_server.url) as late,
    ):
        await late.publish(samples.events_of("clip", range(5), epoch=epoch))

        class Opening(ScriptedSource):
            """While it is opened the owner before goes on where it was."""

            def __enter__(self) -> Opening:
                publishing = late.publish(samples.events_of("clip", range(5, 8), epoch=epoch))
                try:
                    asyncio.run_coroutine_threadsafe(publishing, loop).result(10)
                except EventRejectedError as exc:
                    refused.append(exc)
                return self

        bench.start_worker("w2", sink=sink, source_of=lambda spec: Opening(gray_frames(12)))
        await until(lambda: bench.is_state("clip", StreamState.ENDED))
        await bench.close()
        bench.workers.clear()
    assert [index for _, index in (await events_of(redis_server.url))["clip"]] == list(range(12))
    assert refused


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
