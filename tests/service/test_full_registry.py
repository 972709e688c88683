"""With Redis full, all that a service does goes on: nothing but new events suffers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from emostream.domain.stream import StreamState
from emostream.errors import RegistryUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.jobs import Job, JobRegistry, UnknownJobError
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.metrics import metric_values_of, put_metrics
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.service.worker.crash_guard import CrashGuard, Opening
from tests.publish.redis.test_full import fill
from tests.service.api.test_app import Clients
from tests.service.conftest import SETTINGS
from tests.service.registry.test_jobs import records
from tests.service.registry.test_streams import record_of

pytestmark = pytest.mark.integration


@pytest.fixture
async def full_store() -> AsyncIterator[tuple[RegistryStore, str]]:
    """A registry with the stream `old`, on a server without any memory left."""
    with EmbeddedRedis(max_memory_bytes=4 << 20) as server:
        async with RegistryStore(SETTINGS, redis_url=server.url) as store:
            await StreamRegistry(store).create(record_of("old"))
            await fill(store.redis)
            yield store, server.url


def leases_at(store: RegistryStore, worker_id: str = "w") -> StreamLeases:
    """Of a worker that takes ten streams."""
    return StreamLeases(store, worker_id=worker_id, max_streams=10, ttl_seconds=2.0)


async def test_a_worker_keeps_its_streams_and_reports(full_store: tuple[RegistryStore, str]) -> None:
    store, _ = full_store
    leases, crash_guard = leases_at(store), CrashGuard(store, worker_id="w")
    await leases.heartbeat({})
    held = await leases.claim(["old"])
    assert await crash_guard.begin("old", living=["w"]) is Opening.NOW
    beat = await leases.heartbeat(held)
    assert (beat.lost, set(beat.view.leases)) == ((), {"old"})
    assert await store.last_event_before(held["old"], stream_id="old") is None
    await put_metrics(store, "w", [], seconds=10)
    assert await metric_values_of(store, ["w"]) == {"w": b"[]"}
    await store.note_helper("classifier")
    assert await store.helpers() == ["classifier"]
    await leases.report({"old": StreamReport(StreamState.ENDED, epoch=held["old"])})
    await crash_guard.close()
    assert (await leases.look()).finished == {"old": StreamState.ENDED}


async def test_streams_are_listed_added_changed_and_deleted(
    full_store: tuple[RegistryStore, str], tmp_path: Path
) -> None:
    store, url = full_store
    await leases_at(store).heartbeat({})
    async with AsyncExitStack() as stack:
        client = await Clients(url, stack, tmp_path).open()
        ready = (await client.get("/readyz")).json()
        assert (ready["ready"], len(ready["problems"])) == (True, 1)  # nearly full
        assert [item["id"] for item in (await client.get("/v1/streams")).json()["streams"]] == ["old"]
        added = await client.post("/v1/streams", json={"id": "new", "url": "rtsp://127.0.0.1:9/1"})
        assert added.status_code == 201
        assert (await client.patch("/v1/streams/old", json={"paused": True})).status_code == 200
        assert (await client.get("/v1/streams/old")).json()["paused"] is True
        assert (await client.delete("/v1/streams/old")).status_code == 204
        assert [item["id"] for item in (await client.get("/v1/streams")).json()["streams"]] == ["new"]


async def test_jobs_go_on_and_are_deleted_and_new_ones_are_refused_in_words() -> None:
    with EmbeddedRedis(max_memory_bytes=4 << 20) as server:
        async with RegistryStore(SETTINGS, redis_url=server.url) as store:
            jobs, job = JobRegistry(store), Job("archive", "file:///media")
            await jobs.create(job, records(job, 3))
            await fill(store.redis)
            other = Job("other", "file:///media")
            with pytest.raises(RegistryUnavailableError):
                await jobs.create(other, records(other, 1000))
            assert await jobs.feed(max_streams=10) == 2
            assert [progress.num_active for progress in await jobs.all()] == [2]
            await jobs.remove("archive")
            assert await jobs.all() == []


async def test_finished_jobs_are_forgotten_after_a_while(store: RegistryStore) -> None:
    store.max_idle_seconds = 0.3
    jobs, leases = JobRegistry(store), leases_at(store)
    done, open_job = Job("done", "file:///media"), Job("open", "file:///media")
    await jobs.create(done, records(done, 1))
    await jobs.create(open_job, records(open_job, 1))
    await leases.heartbeat({})
    await jobs.feed(max_streams=10)
    held = await leases.claim(["done.1"])
    await leases.report({"done.1": StreamReport(StreamState.ENDED, epoch=held["done.1"])})
    await jobs.feed(max_streams=10)
    assert (await jobs.progress("done")).num_ended == 1, "for a while it tells what became of its files"
    await asyncio.sleep(0.4)
    await jobs.feed(max_streams=10)
    with pytest.raises(UnknownJobError):
        await jobs.progress("done")
    assert [progress.job.job_id for progress in await jobs.all()] == ["open"]
    assert [key for key in await store.redis.keys("*") if b"done" in key] == []


async def test_readiness_reports_a_server_that_drops_data_or_has_no_limit(
    store: RegistryStore, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    await leases_at(store).heartbeat({})
    before = await store.redis.config_get("maxmemory")
    async with AsyncExitStack() as stack:
        client = await Clients(redis_server.url, stack, tmp_path).open()
        seen = [await client.get("/readyz")]
        try:
            for name, value in (("maxmemory-policy", "allkeys-lru"), ("maxmemory", 0)):  # without a limit none is used
                await store.redis.config_set(name, value)
                seen.append(await client.get("/readyz"))
        finally:
            await store.redis.config_set("maxmemory-policy", "noeviction")
            await store.redis.config_set("maxmemory", str(before["maxmemory"]))
    assert [answer.status_code for answer in seen] == [200, 503, 200]
    assert [len(answer.json()["problems"]) for answer in seen] == [0, 1, 1]
