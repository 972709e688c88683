"""Wanted streams on a real server: idempotent creation, changes that do not overwrite each other, honest states."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.service.registry.records import StreamRecord, StreamReport
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import (
    OwnerFullError,
    RegistryFullError,
    StreamExistsError,
    StreamRegistry,
    UnknownStreamError,
)
from tests.service.conftest import LeasesOf

pytestmark = pytest.mark.integration


def record_of(stream_id: str, url: str = "rtsp://user:secret@camera/1") -> StreamRecord:
    """A live stream."""
    return StreamRecord(StreamSpec(stream_id, url, StreamKind.LIVE))


async def test_creating_the_same_stream_twice_is_one_stream(store: RegistryStore) -> None:
    registry = StreamRegistry(store)
    first, is_new = await registry.create(record_of("door"))
    again, is_new_again = await registry.create(record_of("door"))
    assert (is_new, is_new_again) == (True, False)
    assert first == again
    assert first.created_epoch > 1_700_000_000_000
    with pytest.raises(StreamExistsError):
        await registry.create(record_of("door", "rtsp://other/1"))


async def test_changes_at_the_same_time_are_all_kept(store: RegistryStore) -> None:
    registry = StreamRegistry(store)
    await registry.create(record_of("door"))

    def faster(record: StreamRecord) -> StreamRecord:
        return replace(record, spec=replace(record.spec, every=record.spec.every + 1))

    await asyncio.gather(*(registry.change("door", faster) for _ in range(10)))
    last = await registry.change("door", lambda record: record)
    assert last.spec.every == 11


async def test_one_owner_leaves_room_for_others(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry = StreamRegistry(store, max_streams=4, max_streams_per_owner=2)
    for name in ("a", "b", "a"):
        await registry.create(record_of(name), owner="ann")
    with pytest.raises(OwnerFullError):
        await registry.create(record_of("c"), owner="ann")
    await registry.create(record_of("c"), owner="bob")
    await registry.create(record_of("d"))
    with pytest.raises(RegistryFullError):
        await registry.create(record_of("e"), owner="bob")
    # What was deleted takes no place, also where another owner has its id now.
    await registry.remove("a")
    await registry.create(record_of("a"), owner="bob")
    await registry.remove("d")
    await registry.create(record_of("d"), owner="ann")
    await registry.remove("c")
    with pytest.raises(OwnerFullError):
        await registry.create(record_of("c"), owner="ann")
    # Nor does what is finished.
    worker = leases_of("w1")
    await worker.heartbeat({})
    (epoch,) = (await worker.claim(["b"])).values()
    await worker.report({"b": StreamReport(StreamState.ENDED, worker_id="w1", epoch=epoch)})
    await registry.create(record_of("c"), owner="ann")


async def test_unknown_streams_and_a_full_registry(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry = StreamRegistry(store, max_streams=1)
    view = await leases_of().look()
    for call in (
        registry.remove("nobody"),
        registry.change("nobody", lambda record: record),
        registry.status("nobody", view),
    ):
        with pytest.raises(UnknownStreamError, match="nobody"):
            await call
    await registry.create(record_of("a"))
    await registry.create(record_of("a"))
    with pytest.raises(RegistryFullError):
        await registry.create(record_of("b"))
    worker = leases_of("w1")
    await worker.heartbeat({})
    (epoch,) = (await worker.claim(["a"])).values()
    await worker.report({"a": StreamReport(StreamState.ENDED, worker_id="w1", epoch=epoch)})
    await registry.create(record_of("b"))  # what is finished takes no place
    with pytest.raises(RegistryFullError):
        await registry.create(record_of("c"))


async def test_the_state_says_why_a_stream_waits(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry, worker = StreamRegistry(store), leases_of("w1", max_streams=1)

    async def detail_of(stream_id: str) -> tuple[StreamState, str]:
        status = await registry.status(stream_id, await worker.look())
        return status.state, status.detail

    await registry.create(record_of("a"))
    await registry.create(record_of("b"))
    without_worker = await detail_of("a")
    await worker.heartbeat({})
    with_worker = await detail_of("a")
    assert without_worker[0] is with_worker[0] is StreamState.PENDING
    assert without_worker[1] != with_worker[1]
    held = await worker.claim(["a"])
    await worker.heartbeat(held)
    assert (await detail_of("a"))[0] is StreamState.CONNECTING
    assert "all 1 stream workers are full (1 streams)" in (await detail_of("b"))[1]
    await worker.report({"a": StreamReport(StreamState.RUNNING, "fine", "w1", held["a"])})
    assert await detail_of("a") == (StreamState.RUNNING, "fine")
    await worker.report({"a": StreamReport(StreamState.ENDED, "the end", "w1", held["a"])})
    assert await detail_of("a") == (StreamState.ENDED, "the end")
    assert await worker.claim(["a"]) == {}


async def test_a_removed_stream_leaves_nothing_behind(store: RegistryStore, leases_of: LeasesOf) -> None:
    registry, worker = StreamRegistry(store), leases_of("w1")
    for number in range(20):
        await registry.create(record_of(f"s{number}"))
        held = await worker.claim([f"s{number}"])
        await worker.report({name: StreamReport(StreamState.RUNNING, "", "w1", epoch) for name, epoch in held.items()})
        await registry.remove(f"s{number}")
        await worker.release(held)
    await worker.sign_off()
    keys = {bytes(key).decode() async for key in store.redis.scan_iter("*")}
    # What is gone is told of for a while (test_changes.py has the bound), and kept from coming back (test_loss.py).
    assert keys == {f"emostream:{{registry}}:{name}" for name in ("epoch", "revision", "changes", "gone", "deleted")}
