"""A stream that crashes whoever opens it is found out and given up; streams beside it go on."""

from __future__ import annotations

import asyncio
import itertools
import signal

import pytest

from emostream.publish.embedded_redis import EmbeddedRedis
from emostream.service.openings import MAX_DEATHS, Opening, Openings
from emostream.service.record import StreamReport
from emostream.service.store import OPENINGS, RegistryStore
from emostream.stream import StreamState
from tests.service.streams import live_record
from tests.service.worker_bench import Bench, bench, until, worker_process
from tests.service.worker_process import CRASHING

__all__ = ["bench"]
pytestmark = pytest.mark.integration

RUNS = StreamReport(StreamState.RUNNING, num_frames=1)
OPENS = StreamReport(StreamState.CONNECTING)


async def test_what_was_opened_when_a_worker_died_is_opened_alone(store: RegistryStore) -> None:
    first, second = Openings(store, worker_id="w1"), Openings(store, worker_id="w2")
    for stream_id in ("a", "b", "c"):
        assert await first.begin(stream_id, living=["w1"]) is Opening.NOW
    await first.settle({"a": RUNS, "b": OPENS, "c": OPENS})  # then it dies
    assert await second.begin("a", living=["w2"]) is Opening.NOW
    assert await second.begin("b", living=["w2"]) is Opening.LATER, "another stream is being opened"
    await second.settle({"a": RUNS})
    assert await second.begin("b", living=["w2"]) is Opening.NOW
    assert await second.begin("c", living=["w2"]) is Opening.LATER
    assert await second.begin("new", living=["w2"]) is Opening.LATER, "it would be suspected, too"
    await second.settle({"b": RUNS})
    assert await second.begin("c", living=["w2"]) is Opening.NOW
    await second.close()
    assert await store.hash_of(OPENINGS) == {}


async def test_after_three_deaths_it_is_given_up_and_may_be_tried_once_more(store: RegistryStore) -> None:
    for number in range(MAX_DEATHS):
        worker = Openings(store, worker_id=f"w{number}")
        assert await worker.begin("door", living=[]) is Opening.NOW
    last = Openings(store, worker_id="last")
    assert await last.begin("door", living=[]) is Opening.NEVER
    assert await last.begin("door", living=[]) is Opening.NOW


async def test_a_hand_over_is_no_death_and_notes_of_others_stay(store: RegistryStore) -> None:
    now = 0.0
    first = Openings(store, worker_id="w1", clock=lambda: now)
    second = Openings(store, worker_id="w2")
    assert await first.begin("door", living=["w1"]) is Opening.NOW
    for _ in range(MAX_DEATHS + 1):
        assert await second.begin("door", living=["w1", "w2"]) is Opening.NOW
    now = 31.0
    await first.settle({"door": OPENS})  # so long after its beginning it cannot be the stream's fault
    assert await store.hash_of(OPENINGS) == {"door": b"w2 0"}


@pytest.mark.slow
async def test_a_stream_that_crashes_its_worker(bench: Bench, redis_server: EmbeddedRedis) -> None:
    names = ("s0", "s1", "s2")
    for name in (*names, CRASHING):
        await bench.registry.create(live_record(name))
    started: list[asyncio.subprocess.Process] = []

    async def keep_one_running() -> None:
        """As Serve does."""
        for number in itertools.count():
            async with worker_process(redis_server.url, f"w{number}") as worker:
                started.append(worker)
                if await worker.wait() != -signal.SIGSEGV:
                    return

    keeping = asyncio.create_task(keep_one_running())

    async def is_over() -> bool:
        states = {status.record.stream_id: status.state for status in await bench.statuses()}
        return states.pop(CRASHING) is StreamState.FAILED and set(states.values()) == {StreamState.RUNNING}

    await until(is_over, timeout_seconds=120)
    assert f"{MAX_DEATHS} workers died while they opened it" in (await bench.status(CRASHING)).detail
    assert len(started) == MAX_DEATHS + 1
    started[-1].send_signal(signal.SIGTERM)
    await keeping
    assert await bench.store.hash_of(OPENINGS) == {}
