"""Streams that go from one worker to another: drained, killed or late; nothing is published twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import pytest

from emostream.decode.source import FrameSource
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamSpec, StreamState
from emostream.errors import EventRejectedError, SourceRejectedError, SourceUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.store import LEASES, RegistryStore
from emostream.testing.fakes import CollectingSink, ScriptedSource, gray_frames
from tests.publish import samples
from tests.service.conftest import SETTINGS
from tests.service.streams import EndlessSource, ScriptedParts, live_record
from tests.service.tcp_proxy import TcpProxy
from tests.service.worker_bench import Bench, bench, events_of, file_record, until, worker_process

__all__ = ["bench"]  # a fixture

pytestmark = pytest.mark.integration


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
