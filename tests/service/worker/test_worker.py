"""Workers in this process: a stream from its wish to its end, and what is tried again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from emostream.decode.source import FrameSource
from emostream.domain.event import StatusEvent
from emostream.domain.stream import StreamSpec, StreamState
from emostream.errors import SinkUnavailableError, SourceError, SourceNotHereError, SourceUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.store import RegistryStore
from emostream.testing.fakes import CollectingSink, ScriptedSource, gray_frames
from tests.service.conftest import SETTINGS
from tests.service.streams import EndlessSource, live_record
from tests.service.tcp_proxy import TcpProxy
from tests.service.worker_bench import Bench, bench, file_record, until

__all__ = ["bench"]  # a fixture

pytestmark = pytest.mark.integration


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


async def test_a_removal_moves_no_other_stream(bench: Bench) -> None:
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink)
    for name in ("goes", "stays"):
        await bench.registry.create(live_record(name))
        await until(lambda name=name: bench.is_state(name, StreamState.RUNNING))  # type: ignore[misc]
    await bench.registry.remove("goes")

    async def is_gone() -> bool:
        return "goes" not in (await bench.look()).leases and sink.statuses[-1].stream_id == "goes"

    await until(is_gone)
    await asyncio.sleep(0.2)
    assert [event.state for event in sink.statuses if event.stream_id == "stays"] == [StreamState.RUNNING]


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
        return set(states.values()) == {StreamState.RUNNING} if states.pop("odd") else False

    await until(others_run)

    status = await bench.status("odd")

    async def is_told() -> bool:
        nonlocal status
        status = await bench.status("odd")
        # Another worker may do better.
        return status.state is StreamState.PENDING and "internal error: RuntimeError" in status.detail

    await until(is_told)
    assert "secret" not in status.detail


class _Clock:
    """Monotonic time that can run faster."""

    def __init__(self) -> None:
        self._base, self._since, self._rate = 0.0, time.monotonic(), 1.0

    def __call__(self) -> float:
        return self._base + (time.monotonic() - self._since) * self._rate

    def run_at(self, rate: float) -> None:
        self._base, self._since, self._rate = self(), time.monotonic(), rate


@pytest.mark.parametrize(
    "error", [SourceUnavailableError("away"), SourceNotHereError("no such file here")], ids=["away", "not here"]
)
async def test_a_stream_that_is_created_again_does_not_wait_for_what_the_deleted_one_did(
    bench: Bench, error: SourceError
) -> None:
    num_asked, is_good, clock = 0, False, _Clock()

    def source_of(spec: StreamSpec) -> FrameSource:
        nonlocal num_asked
        num_asked += 1
        return ScriptedSource(gray_frames(5), open_error=None if is_good else error)

    bench.start_worker("w1", sink=CollectingSink(), source_of=source_of, clock=clock)
    await bench.registry.create(file_record())
    clock.run_at(60.0)

    async def waits_for_long() -> bool:
        return num_asked >= 12

    await until(waits_for_long)
    clock.run_at(0.0)  # so that no attempt of the deleted one is due any more
    await asyncio.sleep(0.5)
    is_good = True
    await bench.registry.remove("clip")
    await bench.registry.create(file_record())
    await until(lambda: bench.is_state("clip", StreamState.ENDED), timeout_seconds=15)


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


async def test_streams_start_together_and_keep_their_leases_where_redis_is_far(
    bench: Bench, redis_server: EmbeddedRedis
) -> None:
    """Each asks the registry five things before it starts: one after the other they would lose their leases of 1 s."""
    num_streams = 120
    for number in range(num_streams):
        await bench.registry.create(live_record(f"s{number}"))
    port = urlsplit(redis_server.url).port or 0
    async with TcpProxy(port, delay_seconds=0.1) as far:
        url = redis_server.url.replace(f":{port}", f":{far.port}")
        async with RegistryStore(SETTINGS, redis_url=url) as store:
            leases = StreamLeases(store, worker_id="w1", max_streams=num_streams, ttl_seconds=1.0)
            bench.start_worker(
                "w1",
                sink=CollectingSink(),
                source_of=lambda spec: EndlessSource(seconds_per_frame=0.5, kind=spec.kind),
                store=store,
                leases=leases,
            )

            async def all_run() -> bool:
                return all(status.state is StreamState.RUNNING for status in await bench.statuses())

            await until(all_run, timeout_seconds=60)
            assert (leases.stats.num_lost, leases.stats.num_claimed) == (0, num_streams)
            num_connections = far.num_connections
            await bench.close()
            assert not (await bench.look()).leases
            assert far.num_connections < num_connections + 10, "each stream was released by itself"
            bench.workers.clear()


async def test_a_step_that_hangs_does_not_keep_its_streams_for_ever(bench: Bench, store: RegistryStore) -> None:
    ahead_seconds = 0.0
    leases = StreamLeases(store, worker_id="w1", max_streams=10, ttl_seconds=1.0)
    worker = bench.start_worker(
        "w1", sink=CollectingSink(), leases=leases, clock=lambda: time.monotonic() + ahead_seconds
    )
    await bench.registry.create(live_record())

    async def runs() -> bool:
        return await bench.is_state("door", StreamState.RUNNING)

    await until(runs)
    async with worker._stepping:  # as if a step did not return
        for _ in range(8):
            await asyncio.sleep(0.2)
            assert await runs(), "it lost its lease in a long step"
        ahead_seconds = 100.0

        async def is_free() -> bool:
            return "door" in (await bench.look()).free_ids()

        await until(is_free)
