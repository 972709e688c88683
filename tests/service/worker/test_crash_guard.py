"""A stream that crashes whoever opens it is found out and given up; streams beside it go on."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal

import pytest

from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import OPENINGS, RegistryStore
from emostream.service.worker.crash_guard import MAX_DEATHS, CrashGuard, Opening
from tests.service.streams import live_record
from tests.service.worker_bench import Bench, bench, until, worker_process
from tests.service.worker_process import CRASHING

__all__ = ["bench"]
pytestmark = pytest.mark.integration

RUNS = StreamReport(StreamState.RUNNING, num_frames=1)
OPENS = StreamReport(StreamState.CONNECTING)


async def test_what_was_opened_when_a_worker_died_is_opened_alone(store: RegistryStore) -> None:
    first, second = CrashGuard(store, worker_id="w1"), CrashGuard(store, worker_id="w2")
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


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def die_of(store: RegistryStore, stream_id: str, *, times: int, host: str = "h1", first: int = 0) -> None:
    """Workers open a stream and die of it, each after it lived long enough."""
    for number in range(first, first + times):
        clock = Clock()
        worker = CrashGuard(store, worker_id=f"{stream_id}-{number}", host=host, clock=clock)
        if await worker.begin(stream_id, living=[]) is Opening.LATER:
            clock.seconds += worker.pause_seconds(stream_id)
            assert await worker.begin(stream_id, living=[]) is Opening.NOW


async def test_after_three_deaths_it_is_given_up_and_may_be_tried_once_more(store: RegistryStore) -> None:
    await die_of(store, "door", times=MAX_DEATHS)
    last = CrashGuard(store, worker_id="last", host="h1")
    assert await last.begin("door", living=[]) is Opening.NEVER
    assert await last.begin("door", living=[]) is Opening.NOW


async def test_workers_that_die_every_few_seconds_blame_no_stream(store: RegistryStore) -> None:
    """Two deaths may be the stream's; after them a worker proves that it lives by itself before it opens it again."""
    for number in range(12):
        clock = Clock()
        worker = CrashGuard(store, worker_id=f"w{number}", host="h1", clock=clock)
        crash_guard = []
        for _ in range(5):
            crash_guard.append(await worker.begin("door", living=[]))
            clock.seconds += 1.5
        assert crash_guard[0] is (Opening.NOW if number < 2 else Opening.LATER)
        assert Opening.NEVER not in crash_guard
        assert worker.pause_seconds("door") <= 10.0
    clock.seconds += 10.0
    assert await worker.begin("door", living=[]) is Opening.NOW


async def test_what_has_worked_is_opened_again_after_longer_and_longer_times(store: RegistryStore) -> None:
    pauses = []
    for number in range(8):
        clock = Clock()
        worker = CrashGuard(store, worker_id=f"w{number}", host="h1", clock=clock)
        opening = await worker.begin("door", living=[], has_worked=True)
        pauses.append(worker.pause_seconds("door"))
        if opening is Opening.LATER:
            clock.seconds += pauses[-1]
            opening = await worker.begin("door", living=[], has_worked=True)
        assert opening is Opening.NOW
    assert pauses == [0, 0, 10, 60, 120, 240, 480, 960]


async def test_several_streams_of_which_workers_die_are_not_at_fault(store: RegistryStore) -> None:
    for name in ("a", "b", "c"):
        await die_of(store, name, times=MAX_DEATHS)
    assert await CrashGuard(store, worker_id="w", host="h1").begin("a", living=[]) is Opening.LATER
    await store.redis.hdel(OPENINGS, "b", "c")
    assert await CrashGuard(store, worker_id="w", host="h1").begin("a", living=[]) is Opening.NEVER


async def test_another_host_has_to_try_it_as_well(store: RegistryStore) -> None:
    elsewhere = CrashGuard(store, worker_id="w2", host="h2")
    assert await elsewhere.begin("other", living=["w2"]) is Opening.NOW
    await elsewhere.opened("other")
    await die_of(store, "door", times=MAX_DEATHS)
    clock = Clock()
    here = CrashGuard(store, worker_id="w1", host="h1", clock=clock)
    assert await here.begin("door", living=["w1", "w2"]) is Opening.LATER
    await die_of(store, "door", times=1, host="h2", first=9)
    assert await here.begin("door", living=["w1", "w2"]) is Opening.NEVER


async def test_the_first_picture_clears_a_stream(store: RegistryStore) -> None:
    for number in range(2 * MAX_DEATHS):
        worker = CrashGuard(store, worker_id=f"w{number}")
        assert await worker.begin("door", living=[]) is Opening.NOW
        await worker.opened("door")
        await worker.opened("unknown")
    assert await store.hash_of(OPENINGS) == {}


@pytest.mark.parametrize("note", ["", "{", "[]", "w1 2", '{"worker": 1}', '{"worker": "w", "host": "h", "deaths": 3}'])
async def test_a_note_of_another_version_is_none(store: RegistryStore, note: str) -> None:
    await store.redis.hset(OPENINGS, "door", note)
    assert await CrashGuard(store, worker_id="w1").begin("door", living=[]) is Opening.NOW


async def test_a_hand_over_is_no_death_and_notes_of_others_stay(store: RegistryStore) -> None:
    now = 0.0
    first = CrashGuard(store, worker_id="w1", clock=lambda: now)
    second = CrashGuard(store, worker_id="w2")
    assert await first.begin("door", living=["w1"]) is Opening.NOW
    for _ in range(MAX_DEATHS + 1):
        assert await second.begin("door", living=["w1", "w2"]) is Opening.NOW
    now = 31.0
    await first.settle({"door": OPENS})  # so long after its beginning it cannot be the stream's fault
    (note,) = (await store.hash_of(OPENINGS)).values()
    assert (json.loads(note)["worker"], json.loads(note)["deaths"]) == ("w2", [])


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


@pytest.mark.slow
async def test_workers_that_crash_for_reasons_of_their_own_fail_no_stream(
    bench: Bench, redis_server: EmbeddedRedis
) -> None:
    """A driver that ends the process with the first picture that is looked at."""
    names = ("s0", "s1", "s2")
    for name in names:
        await bench.registry.create(live_record(name))
    for number in range(2 * MAX_DEATHS):
        async with worker_process(redis_server.url, f"broken{number}", is_broken=True) as worker:
            assert await worker.wait() == -signal.SIGSEGV
        assert not (await bench.look()).finished
    async with worker_process(redis_server.url, "good") as worker:

        async def all_run() -> bool:
            return {status.state for status in await bench.statuses()} == {StreamState.RUNNING}

        await until(all_run, timeout_seconds=60)
        worker.send_signal(signal.SIGTERM)
        await worker.wait()
