"""Leases on a real server: one owner at a time, tokens that grow, expiry, a hard cap, and a server that forgets."""

from __future__ import annotations

import asyncio

import pytest

from emostream.domain.stream import StreamState
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.placement import place
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import LEASES, RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.service.conftest import LeasesOf
from tests.service.registry.test_streams import record_of

pytestmark = pytest.mark.integration


async def _create(store: RegistryStore, *stream_ids: str) -> StreamRegistry:
    registry = StreamRegistry(store)
    for stream_id in stream_ids:
        await registry.create(record_of(stream_id))
    return registry


async def test_of_two_that_claim_at_once_one_wins(store: RegistryStore, leases_of: LeasesOf) -> None:
    names = [f"s{number}" for number in range(20)]
    await _create(store, *names)
    first, second = await asyncio.gather(
        leases_of("w1", max_streams=20).claim(names), leases_of("w2", max_streams=20).claim(names)
    )
    assert not first.keys() & second.keys()
    assert sorted(first | second) == sorted(names)


async def test_the_cap_is_hard(store: RegistryStore, leases_of: LeasesOf) -> None:
    await _create(store, "a", "b", "c")
    worker = leases_of("w1", max_streams=2)
    assert len(await worker.claim(["a", "b", "c"])) == 2
    assert await worker.claim(["c"]) == {}


async def test_a_silent_worker_loses_its_streams_to_a_greater_token(store: RegistryStore, leases_of: LeasesOf) -> None:
    await _create(store, "a")
    dead, heir = leases_of("dead"), leases_of("heir")
    held = await dead.claim(["a"])
    assert await heir.claim(["a"]) == {}
    await asyncio.sleep(0.35)
    won = await heir.claim(["a"])
    assert won["a"] > held["a"]
    beat = await dead.heartbeat(held)
    assert beat.lost == ("a",)
    await dead.report({"a": StreamReport(StreamState.FAILED, "too late", "dead", held["a"])})
    await dead.release(held)
    status = await StreamRegistry(store).status("a", await heir.look())
    assert (status.state, status.lease and status.lease.worker_id) == (StreamState.CONNECTING, "heir")


async def test_heartbeats_keep_a_lease_and_revive_an_expired_free_one(
    store: RegistryStore, leases_of: LeasesOf
) -> None:
    await _create(store, "a")
    worker, other = leases_of("w1"), leases_of("w2")
    held = await worker.claim(["a"])
    for _ in range(4):
        await asyncio.sleep(0.15)
        assert (await worker.heartbeat(held)).lost == ()
        assert await other.claim(["a"]) == {}
    await asyncio.sleep(0.4)
    assert (await worker.heartbeat(held)).lost == ()
    assert await other.claim(["a"]) == {}


async def test_claiming_again_gives_a_new_epoch(store: RegistryStore, leases_of: LeasesOf) -> None:
    await _create(store, "a")
    worker = leases_of("w1", max_streams=1)
    first, second = await worker.claim(["a"]), await worker.claim(["a"])
    assert second["a"] > first["a"]
    assert (await worker.heartbeat(second)).lost == ()


async def test_a_record_made_anew_takes_no_report_of_the_run_before(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry = await _create(store, "a")
    worker = leases_of("w1")
    held = await worker.claim(["a"])
    await registry.remove("a")
    await registry.create(record_of("a"))
    await worker.report({"a": StreamReport(StreamState.ENDED, "removed", "w1", held["a"])})
    assert (await registry.status("a", await worker.look())).state is StreamState.CONNECTING
    await worker.release(held)
    assert await worker.claim(["a"])


async def test_dead_workers_and_leases_of_removed_streams_disappear(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry = await _create(store, "a")
    dead, living = leases_of("dead"), leases_of("living")
    await dead.heartbeat(await dead.claim(["a"]))
    await registry.remove("a")
    await asyncio.sleep(0.35)
    await living.heartbeat({})
    view = await living.look()
    assert view.workers.keys() == {"living"}
    assert view.leases == {}


async def test_a_lease_that_ran_out_goes_with_its_stream(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry = await _create(store, "a")
    await leases_of("dead").claim(["a"])
    await asyncio.sleep(0.35)
    await leases_of("living").heartbeat({})  # nobody else takes it: all are full
    await registry.remove("a")
    assert await store.hash_of(LEASES) == {}


async def test_what_is_wanted_survives_a_server_that_lost_its_data(store: RegistryStore, leases_of: LeasesOf) -> None:
    await _create(store, "a", "b")
    worker = leases_of("w1")
    held = await worker.claim(["a"])
    await worker.heartbeat(held)
    await store.redis.flushall()
    beat = await worker.heartbeat(held)
    assert beat.is_new_generation
    assert beat.view.records.keys() == {"a", "b"}
    assert beat.lost == ("a",)
    assert (await worker.claim(["a"]))["a"] > held["a"]


async def test_three_workers_share_evenly_and_take_over(store: RegistryStore, leases_of: LeasesOf) -> None:
    names = [f"s{number}" for number in range(9)]
    await _create(store, *names)
    held: dict[str, dict[str, int]] = {"w1": {}, "w2": {}, "w3": {}}
    workers = {name: leases_of(name) for name in held}

    async def step(name: str, worker: StreamLeases) -> None:
        beat = await worker.heartbeat(held[name])
        placement = place(beat.view, worker_id=name, owned=list(held[name]))
        await worker.release({stream_id: held[name].pop(stream_id) for stream_id in placement.give_back})
        held[name] |= await worker.claim(placement.claim)

    async def settle() -> None:
        for _ in range(12):
            await asyncio.gather(*(step(name, worker) for name, worker in workers.items()))

    await settle()
    assert [len(of_worker) for of_worker in held.values()] == [3, 3, 3]
    del workers["w2"], held["w2"]
    await asyncio.sleep(0.35)
    await settle()
    assert sorted(stream_id for of_worker in held.values() for stream_id in of_worker) == names
    assert sorted(len(of_worker) for of_worker in held.values()) == [4, 5]
