"""Redis lost its data, or a part of it: what workers know is merged, and what was deleted stays deleted."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from emostream.domain.stream import StreamState
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import RegistryView, StreamReport
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.service.conftest import LeasesOf
from tests.service.registry.test_streams import record_of

pytestmark = pytest.mark.integration


async def copy_of(store: RegistryStore) -> dict[bytes, bytes]:
    """All data of the server."""
    redis: Any = store.redis
    return {key: await redis.dump(key) for key in await redis.keys("*")}


async def load(store: RegistryStore, copy: dict[bytes, bytes]) -> None:
    """As a restart from a backup, or a failover to a replica that lags behind."""
    redis: Any = store.redis
    await redis.flushall()
    for key, content in copy.items():
        await redis.restore(key, 0, content)


@pytest.fixture
async def registry(store: RegistryStore) -> StreamRegistry:
    """With the streams `a`, `b` and `c`."""
    registry = StreamRegistry(store)
    for name in "abc":
        await registry.create(record_of(name))
    return registry


async def beat_all(*workers: StreamLeases) -> list[RegistryView]:
    """Two heartbeats of each, in this order."""
    return [(await worker.heartbeat({})).view for worker in (*workers, *workers)][len(workers) :]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_what_was_deleted_before_a_loss_stays_deleted(
    store: RegistryStore, registry: StreamRegistry, leases_of: LeasesOf, order: tuple[int, ...]
) -> None:
    workers = [leases_of(f"w{number}") for number in range(3)]
    await beat_all(*workers)
    await registry.remove("a")
    await beat_all(workers[0])  # the others are cut off
    await store.redis.flushall()
    views = await beat_all(*(workers[number] for number in order))
    assert [set(view.records) for view in views[-1:]] == [{"b", "c"}]
    for view in await beat_all(*workers):
        assert set(view.records) == {"b", "c"}


async def test_what_is_deleted_and_created_after_a_loss_counts(
    store: RegistryStore, registry: StreamRegistry, leases_of: LeasesOf
) -> None:
    first, cut_off = leases_of("w1"), leases_of("w2")
    await beat_all(first, cut_off)
    await store.redis.flushall()
    await beat_all(first)
    await registry.remove("a")
    await registry.remove("b")
    again, is_new = await registry.create(record_of("b", "rtsp://other/1"))
    assert is_new
    for view in await beat_all(cut_off, first):
        assert set(view.records) == {"b", "c"}
        assert view.records["b"] == again


async def test_what_ended_before_a_loss_does_not_start_again(
    store: RegistryStore, registry: StreamRegistry, leases_of: LeasesOf
) -> None:
    worker = leases_of("w1")
    await worker.heartbeat({})
    held = await worker.claim(["a"])
    await worker.report({"a": StreamReport(StreamState.ENDED, epoch=held["a"])})
    await worker.heartbeat({})
    await store.redis.flushall()
    view = (await worker.heartbeat({})).view
    assert (set(view.records), view.finished) == ({"a", "b", "c"}, {"a": StreamState.ENDED})


async def test_an_older_state_of_the_server_is_no_order(
    store: RegistryStore, registry: StreamRegistry, leases_of: LeasesOf
) -> None:
    first, second, cut_off = (leases_of(name, ttl_seconds=5) for name in ("w1", "w2", "w3"))
    await beat_all(first, second, cut_off)
    copy = await copy_of(store)
    held = await first.claim(["c"])
    await first.report({"c": StreamReport(StreamState.ENDED, epoch=held["c"])})
    await registry.remove("a")
    await registry.change("b", lambda record: record.changed(is_paused=True, tuning={}))
    for name in ("d", "e"):
        await registry.create(record_of(name))
    (known, _) = await beat_all(first, second)
    await load(store, copy)
    beat = await first.heartbeat({})
    assert beat.is_new_generation
    await registry.remove("e")  # an order by now
    for view in await beat_all(second, cut_off, first):
        assert view.records == {name: known.records[name] for name in ("b", "c", "d")}
        assert view.records["b"].is_paused
        assert view.finished == {"c": StreamState.ENDED}
    made, _ = await registry.create(record_of("f"))
    assert made.created_epoch > max(record.created_epoch for record in known.records.values())
    assert (await first.claim(["b"]))["b"] > held["c"]


async def test_who_was_cut_off_over_both_brings_nothing_back(
    store: RegistryStore, registry: StreamRegistry, leases_of: LeasesOf
) -> None:
    first, cut_off = leases_of("w1"), leases_of("w2")
    await beat_all(first, cut_off)
    copy = await copy_of(store)
    await registry.create(record_of("d"))
    await beat_all(first, cut_off)
    await load(store, copy)
    await beat_all(first)
    await registry.remove("d")
    for number in range(9):  # the version grows beyond what the other knows
        await registry.create(record_of(f"x{number}"))
        await registry.remove(f"x{number}")
    for view in await beat_all(cut_off, first):
        assert set(view.records) == {"a", "b", "c"}
