"""Whoever follows changes knows the same as one who asks for everything."""

from __future__ import annotations

import random

import pytest

from emostream.domain.stream import StreamState
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import RegistryView, StreamReport
from emostream.service.registry.store import CHANGES, GONE, LEASES, RECORDS, WORKERS, RegistryStore
from emostream.service.registry.streams import StreamExistsError, StreamRegistry, UnknownStreamError
from tests.service.conftest import LeasesOf
from tests.service.registry.test_streams import record_of

pytestmark = pytest.mark.integration


class RandomWorld:
    """Streams that come and go, and workers that claim, report, forget, die and come again, in an order of chance."""

    def __init__(self, store: RegistryStore, leases_of: LeasesOf, *, seed: int) -> None:
        self.random = random.Random(seed)
        self.registry = StreamRegistry(store)
        self.leases_of = leases_of
        self.held: dict[str, dict[str, int]] = {}
        self.workers: dict[str, StreamLeases] = {}

    def stream_id(self) -> str:
        return f"s{self.random.randrange(12)}"

    async def step(self) -> None:
        if not self.workers or self.random.random() < 0.05:
            name = f"w{self.random.randrange(1000)}"
            # Some never lose a lease by time, others always do.
            self.workers[name] = self.leases_of(name, max_streams=5, ttl_seconds=self.random.choice([0.02, 60]))
            self.held[name] = {}
        name = self.random.choice(sorted(self.workers))
        await self.random.choice([self.create, self.remove, self.change, self.claim, self.beat, self.leave])(name)

    async def create(self, name: str) -> None:
        try:
            await self.registry.create(record_of(self.stream_id()))
        except StreamExistsError:
            await self.claim(name)

    async def remove(self, name: str) -> None:
        try:
            await self.registry.remove(self.stream_id())
        except UnknownStreamError:
            await self.claim(name)

    async def change(self, name: str) -> None:
        try:
            await self.registry.change(self.stream_id(), lambda record: record.changed(is_paused=True, tuning={}))
        except UnknownStreamError:
            await self.beat(name)

    async def claim(self, name: str) -> None:
        self.held[name] |= await self.workers[name].claim([self.stream_id() for _ in range(3)])

    async def beat(self, name: str) -> None:
        forgotten = set(self.random.sample(sorted(self.held[name]), k=len(self.held[name]) // 4))
        self.held[name] = {name: epoch for name, epoch in self.held[name].items() if name not in forgotten}
        beat = await self.workers[name].heartbeat(self.held[name], is_draining=self.random.random() < 0.1)
        for stream_id in beat.lost:
            del self.held[name][stream_id]

    async def leave(self, name: str) -> None:
        """Finish a stream, give all back, or sign off."""
        held = self.held[name]
        if held and self.random.random() < 0.5:
            stream_id, epoch = held.popitem()
            await self.workers[name].report({stream_id: StreamReport(StreamState.ENDED, "", name, epoch)})
        elif self.random.random() < 0.3:
            await self.workers[name].release(held)
            if self.random.random() < 0.5:
                await self.workers[name].sign_off()
            del self.workers[name], self.held[name]


def contents(view: RegistryView) -> tuple[object, ...]:
    """All but the time."""
    return view.generation, view.records, view.finished, view.leases, view.workers, view.previews


@pytest.mark.parametrize("seed", range(4))
async def test_following_is_as_good_as_asking_for_everything(
    store: RegistryStore, leases_of: LeasesOf, seed: int
) -> None:
    world, follower = RandomWorld(store, leases_of, seed=seed), leases_of("follower")
    num_leases = 0
    for _ in range(250):
        for _ in range(world.random.randrange(4)):
            await world.step()
        before = await leases_of("first").look()
        followed = await follower.look()
        after = await leases_of("second").look()
        if contents(before) != contents(after):  # a lease ran out in between
            continue
        assert contents(followed) == contents(after)
        num_leases = max(num_leases, len(followed.leases))
    assert num_leases > 2


async def test_a_view_stays_as_it_was(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry, looker = StreamRegistry(store), leases_of("w1")
    await registry.create(record_of("a"))
    before = await looker.look()
    await registry.remove("a")
    await registry.create(record_of("b"))
    assert (await looker.look()).records.keys() == {"b"}
    assert before.records.keys() == {"a"}


async def test_removals_are_reported_for_a_while_and_a_longer_absence_gets_everything(
    store: RegistryStore, leases_of: LeasesOf
) -> None:
    registry, away = StreamRegistry(store), leases_of("away")
    await registry.create(record_of("stays"))
    await registry.create(record_of("goes"))
    assert len((await away.look()).records) == 2
    await registry.remove("goes")
    for number in range(1010):
        await registry.create(record_of(f"s{number}"))
        await registry.remove(f"s{number}")
    assert await store.redis.zcard(GONE) == 1000
    assert await store.redis.zcard(CHANGES) < 1010
    assert await store.redis.hkeys(RECORDS) == [b"stays"]
    assert (await away.look()).records.keys() == {"stays"}


async def test_what_an_earlier_build_left_is_no_hindrance(store: RegistryStore, leases_of: LeasesOf) -> None:
    """It kept leases and workers with the time at which they end."""
    registry, worker = StreamRegistry(store), leases_of("w1")
    await registry.create(record_of("a"))
    await store.redis.hset(LEASES, "a", "old 5 99999999999999")
    await store.redis.hset(WORKERS, "old", "99999999999999 16 1 0")
    beat = await worker.heartbeat({})
    assert not beat.view.leases
    assert beat.view.workers.keys() == {"w1"}
    assert (await worker.claim(["a"]))["a"] > 5


async def test_a_heartbeat_without_changes_is_empty(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry, worker = StreamRegistry(store), leases_of("w1", max_streams=200)
    names = [f"s{number}" for number in range(100)]
    for name in names:
        await registry.create(record_of(name))
    held = await worker.claim(names[:5])
    await worker.heartbeat(held)
    await worker.heartbeat(held)
    first = await worker.heartbeat(held)
    second = await worker.heartbeat(held)
    # Nothing was copied, so nothing was said.
    assert second.view.records is first.view.records
    assert second.view.leases is first.view.leases
    assert second.view.workers is first.view.workers
    assert len(second.view.records) == 100
