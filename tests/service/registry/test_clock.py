"""Redis' clock jumps: leases neither move nor last longer. On a real registry.

A jump is made by moving all that is relative to that clock the other way: the times in Redis, and what workers know.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from emostream.service.registry.leases import StreamLeases, steady_seconds
from emostream.service.registry.store import LAST_BEAT, LEASE_ENDS, WORKER_ENDS, RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.service.conftest import LeasesOf
from tests.service.registry.test_streams import record_of

pytestmark = pytest.mark.integration


class World:
    """A registry whose clock can be set, with the stream `a`."""

    def __init__(self, store: RegistryStore, leases_of: LeasesOf) -> None:
        self._store = store
        self._leases_of = leases_of
        self._moved_seconds = 0.0

    def worker(self, name: str, *, ttl_seconds: float = 0.5) -> StreamLeases:
        return self._leases_of(name, ttl_seconds=ttl_seconds, clock=lambda: steady_seconds() - self._moved_seconds)

    async def jump(self, seconds: float) -> None:
        """The server's clock jumps ahead by so much, or back."""
        for key in (LEASE_ENDS, WORKER_ENDS):
            names: list[Any] = await self._store.redis.zrange(key, 0, -1)
            for name in names:
                await self._store.redis.zincrby(key, -1000 * seconds, name)
        await self._store.redis.incrby(LAST_BEAT, -int(1000 * seconds))
        self._moved_seconds += seconds


@pytest.fixture
async def world(store: RegistryStore, leases_of: LeasesOf) -> World:
    await StreamRegistry(store).create(record_of("a"))
    return World(store, leases_of)


@pytest.mark.parametrize("seconds", [30, 3600, -30])
async def test_a_jump_moves_no_stream(world: World, seconds: float) -> None:
    owner, other = world.worker("owner", ttl_seconds=5), world.worker("other", ttl_seconds=5)
    await owner.heartbeat({})
    held = await owner.claim(["a"])
    for worker, leases in ((owner, held), (other, {})):
        await worker.heartbeat(leases)
    await world.jump(seconds)
    for worker, leases in ((other, {}), (owner, held), (other, {})):
        beat = await worker.heartbeat(leases)
        assert (beat.lost, set(beat.view.leases), set(beat.view.workers)) == ((), {"a"}, {"owner", "other"})
        assert await other.claim(["a"]) == {}


@pytest.mark.parametrize("seconds", [0, 30, -30])
async def test_a_jump_does_not_keep_a_stream_from_moving(world: World, seconds: float) -> None:
    dead, heir = world.worker("dead"), world.worker("heir")
    await dead.heartbeat({})
    held = await dead.claim(["a"])
    await dead.heartbeat(held)
    await heir.heartbeat({})
    await world.jump(seconds)
    assert "a" in (await heir.heartbeat({})).view.leases
    await asyncio.sleep(0.6)
    assert (await heir.heartbeat({})).view.free_ids() == ["a"]
    assert (await heir.claim(["a"]))["a"] > held["a"]


async def test_a_new_worker_waits_for_those_that_can_tell(world: World) -> None:
    owner, new = world.worker("owner", ttl_seconds=5), world.worker("new", ttl_seconds=5)
    await owner.heartbeat({})
    held = await owner.claim(["a"])
    await owner.heartbeat(held)
    await world.jump(30)
    assert (await new.heartbeat({})).view.free_ids() == []
    assert (await owner.heartbeat(held)).lost == ()
    assert (await new.heartbeat({})).view.leases.keys() == {"a"}


async def test_where_all_were_away_a_new_worker_takes_over_with_its_second_heartbeat(world: World) -> None:
    dead, new = world.worker("dead"), world.worker("new")
    await dead.heartbeat(await dead.claim(["a"]))
    await asyncio.sleep(1.1)
    await new.heartbeat({})
    beat = await new.heartbeat({})
    assert (beat.view.free_ids(), set(beat.view.workers)) == (["a"], {"new"})


async def test_a_worker_whose_own_clock_stood_still_moves_nothing(world: World, leases_of: LeasesOf) -> None:
    stopped_seconds = 0.0
    paused = leases_of("paused", clock=lambda: steady_seconds() - stopped_seconds)
    dead, living = world.worker("dead"), world.worker("living")
    await paused.heartbeat({})
    await dead.heartbeat(await dead.claim(["a"]))
    await living.heartbeat({})
    stopped_seconds = 60.0
    await paused.heartbeat({})
    await asyncio.sleep(0.6)
    assert (await living.heartbeat({})).view.free_ids() == ["a"]


async def test_what_a_clock_that_was_ahead_left_does_not_last(world: World, store: RegistryStore) -> None:
    dead, living = world.worker("dead"), world.worker("living")
    await dead.heartbeat(await dead.claim(["a"]))
    for key, name in ((LEASE_ENDS, "a"), (WORKER_ENDS, "dead")):
        await store.redis.zincrby(key, 3_600_000, name)
    await living.heartbeat({})
    await asyncio.sleep(0.6)
    beat = await living.heartbeat({})
    assert (beat.view.free_ids(), set(beat.view.workers)) == (["a"], {"living"})


async def test_looking_writes_nothing(world: World, store: RegistryStore) -> None:
    dead, looker = world.worker("dead"), world.worker("looker")
    await dead.heartbeat(await dead.claim(["a"]))
    assert (await looker.look()).leases.keys() == {"a"}
    await asyncio.sleep(0.6)
    before = {key: await store.redis.dump(key) for key in await store.redis.keys("*")}
    seen = [await looker.look(), await looker.look(), await world.worker("second").look()]
    assert {key: await store.redis.dump(key) for key in await store.redis.keys("*")} == before
    for view in seen:
        assert (view.free_ids(), view.workers) == (["a"], {})
    await dead.heartbeat({})
    assert (await looker.look()).workers.keys() == {"dead"}
