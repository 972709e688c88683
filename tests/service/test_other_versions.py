"""Records that a newer version wrote, or that are damaged, beside those of this one: on a real registry."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.jobs import Job, JobRegistry
from emostream.service.registry.store import FINISHED, JOBS, RECORDS, REPORTS, WORKERS, RegistryStore
from emostream.service.registry.streams import StreamExistsError, StreamRegistry, UnreadableRecordError
from emostream.testing.fakes import CollectingSink, ScriptedSource, gray_frames
from tests.service.api.test_app import Clients, assert_problem, clients
from tests.service.conftest import LeasesOf
from tests.service.registry.test_jobs import records as job_records
from tests.service.registry.test_unknown_fields import content
from tests.service.streams import live_record
from tests.service.worker_bench import Bench, bench, file_record, until

__all__ = ["bench", "clients"]

pytestmark = pytest.mark.integration

NEWER = content(
    top={"min_version": "0.0.9", "labels": {"floor": 2, "names": ["a", "b"]}},
    spec={"lens": {"k1": 0.1, "deep": {"deeper": [1, {"x": None}]}}},
    tuning={"mood": "good"},
    left={"colour": "red"},
    right={"schedule": [{"from": 8, "to": 18}]},
)
BROKEN = [
    "",
    "{",
    "[]",
    "null",
    "\xff\x00",
    "{}",
    '{"spec": 1}',
    json.dumps(content(spec={"kind": "hologram"})),
    json.dumps(content(spec={"every": "often"})),
    json.dumps(content(spec={"zones": [{"shape": "circle"}]})),
    json.dumps(content(top={"is_paused": {"from": 8}})),
    *(json.dumps(content(top={"min_version": version})) for version in ("9.9", "0.10.0", 9, "two", None, [9])),
]

NEWER_JOB = json.dumps({"job_id": "odd", "url": "file:///media", "max_parallel": 1, "min_version": "0.10"})


async def write(store: RegistryStore, stream_id: str, text: str | dict[str, Any], *, epoch: int = 7) -> None:
    """As another version does: through the script, with a text of its own."""
    if isinstance(text, dict):
        text = json.dumps({**text, "spec": {**text["spec"], "stream_id": stream_id}, "created_epoch": epoch})
    await store.run("put", [stream_id, "", text, 0])


async def stored(store: RegistryStore, stream_id: str) -> Any:
    found = await store.field_of(RECORDS, stream_id)
    assert found is not None
    return json.loads(found)


async def test_a_newer_record_is_listed_changed_and_removed_and_nothing_of_it_is_lost(
    store: RegistryStore, clients: Clients
) -> None:
    client = await clients.open()
    await write(store, "door", NEWER)
    await client.post("/v1/streams", json={"id": "own", "url": "rtsp://127.0.0.1:9/1"})
    listed = (await client.get("/v1/streams")).json()
    assert [stream["id"] for stream in listed["streams"]] == ["door", "own"]
    assert listed["unreadable"] == []
    assert (await client.get("/readyz")).json()["num_streams"] in (0, 2)  # no worker lives, but it answers
    changed = await client.patch("/v1/streams/door", json={"target_fps": 5, "min_score": 0.25, "paused": True})
    assert changed.status_code == 200
    expected = json.loads(json.dumps(NEWER))
    expected["spec"]["target_fps"], expected["tuning"]["min_score"], expected["is_paused"] = 5, 0.25, True
    assert await stored(store, "door") == expected
    zones = [{"name": "right", "polygon": [[0, 0], [1, 0], [1, 1]]}]
    await client.patch("/v1/streams/door", json={"zones": zones})
    (zone,) = (await stored(store, "door"))["spec"]["zones"]
    assert zone == {**zones[0], "schedule": [{"from": 8, "to": 18}]}
    assert (await client.delete("/v1/streams/door")).status_code == 204
    assert await store.field_of(RECORDS, "door") is None


async def test_a_worker_runs_a_newer_record(bench: Bench) -> None:
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink)
    await write(bench.store, "door", NEWER)
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    await bench.registry.change("door", lambda record: replace(record, is_paused=True))
    assert (await stored(bench.store, "door"))["labels"] == NEWER["labels"]
    await bench.registry.remove("door")

    async def is_told() -> bool:
        return sink.statuses[-1].state is StreamState.ENDED

    await until(is_told)


@pytest.mark.parametrize("text", BROKEN[1:])
async def test_a_record_that_cannot_be_read_stops_nothing_else_and_can_be_removed(
    store: RegistryStore, clients: Clients, text: str
) -> None:
    client = await clients.open()
    await client.post("/v1/streams", json={"id": "own", "url": "rtsp://127.0.0.1:9/1"})
    await client.get("/v1/streams")  # it is known, and then told only what changed
    await write(store, "odd", text)
    for _ in range(2):
        listed = (await client.get("/v1/streams")).json()
        assert [stream["id"] for stream in listed["streams"]] == ["own"]
        assert listed["unreadable"] == ["odd"]
    assert (await client.get("/v1/streams/own")).status_code == 200
    assert (await client.get("/readyz")).status_code == 503  # it has no worker
    assert_problem(await client.get("/v1/streams/odd"), 409)
    assert_problem(await client.patch("/v1/streams/odd", json={"paused": True}), 409)
    assert_problem(await client.post("/v1/streams", json={"id": "odd", "url": "rtsp://127.0.0.1:9/1"}), 409)
    assert (await client.delete("/v1/streams/odd")).status_code == 204
    assert (await client.get("/v1/streams")).json()["unreadable"] == []


async def test_workers_leave_alone_what_they_cannot_read(bench: Bench, redis_server: EmbeddedRedis) -> None:
    sink = CollectingSink()
    for number, text in enumerate(BROKEN):
        await bench.store.redis.hset(RECORDS, f"odd{number}", text)
    worker = bench.start_worker("w1", sink=sink)
    await bench.registry.create(live_record())
    await bench.registry.create(file_record())
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    view = await bench.look()
    assert view.unfinished_ids() == ["clip", "door"]
    assert view.leases.keys() <= {"clip", "door"}
    assert worker.load.num_wanted <= 2
    assert not view.finished

    # What becomes unreadable while it runs is given back, not ended: a newer worker may take it.
    found = await bench.store.field_of(RECORDS, "door")
    assert found is not None
    await bench.store.run("put", ["door", found.decode(), json.dumps(content(spec={"kind": "hologram"})), 0])

    async def is_given_back() -> bool:
        return "door" not in (await bench.look()).leases and sink.statuses[-1].stream_id == "door"

    await until(is_given_back)
    assert sink.statuses[-1].state is StreamState.PENDING
    with pytest.raises(UnreadableRecordError):
        await bench.status("door")
    await bench.registry.remove("door")


async def test_words_around_the_records_may_be_newer_as_well(bench: Bench, leases_of: LeasesOf) -> None:
    store, registry = bench.store, bench.registry
    await registry.create(live_record("ended"))
    await registry.create(live_record("own"))
    await store.redis.hset(FINISHED, "ended", "archived")
    await store.redis.hset(REPORTS, "own", '{"state": "dreaming"}')
    await store.redis.hset(WORKERS, "newer", "8 1 0 more to say")
    await store.redis.zadd("emostream:{registry}:worker-ends", {"newer": 9e15})
    statuses = {status.record.stream_id: status.state for status in await bench.statuses()}
    assert statuses == {"ended": StreamState.ENDED, "own": StreamState.PENDING}
    view = await bench.look()
    assert view.unfinished_ids() == ["own"]
    assert view.workers["newer"].max_streams == 8
    assert list(await leases_of("w1").claim(view.unfinished_ids())) == ["own"]


async def test_what_was_lost_with_the_data_is_written_back_with_all_that_is_unknown(
    store: RegistryStore, leases_of: LeasesOf
) -> None:
    await write(store, "door", NEWER)
    await write(store, "odd", json.dumps(content(spec={"kind": "hologram"})))
    worker = leases_of("w1")
    await worker.heartbeat({})
    before = await store.hash_of(RECORDS)
    await store.redis.flushall()
    assert (await worker.heartbeat({})).is_new_generation
    after = await store.hash_of(RECORDS)
    assert {name: json.loads(text) for name, text in after.items()} == {
        name: json.loads(text) for name, text in before.items()
    }


class TestJobs:
    """Their records, and those of their files."""

    async def test_a_newer_job(self, store: RegistryStore, clients: Clients) -> None:
        client = await clients.open()
        job = {
            "job_id": "new",
            "url": "file:///media",
            "max_parallel": 1,
            "priority": {"of": "night"},
            "min_version": 0,
        }
        await store.run("jobs_put", ["new", json.dumps(job), json.dumps(NEWER)])
        assert [view["id"] for view in (await client.get("/v1/jobs")).json()] == ["new"]
        jobs = JobRegistry(store)
        assert await jobs.has(Job("new", "file:///media", 1))
        assert await jobs.feed(max_streams=5) == 1
        assert (await stored(store, "door"))["labels"] == NEWER["labels"]
        assert (await client.delete("/v1/jobs/new")).status_code == 204
        assert await store.field_of(RECORDS, "door") is None

    @pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "{}", '{"max_parallel": null}', "\xff", NEWER_JOB])
    async def test_a_job_that_cannot_be_read(self, store: RegistryStore, clients: Clients, text: str) -> None:
        client, jobs = await clients.open(), JobRegistry(store)
        await store.run("jobs_put", ["odd", text, json.dumps(NEWER)])
        own = Job("own", "file:///media", 1)
        await jobs.create(own, job_records(own, 1))
        assert [progress.job.job_id for progress in await jobs.all()] == ["own"]
        assert await jobs.feed(max_streams=5) == 1, "the other job goes on"
        assert [view["id"] for view in (await client.get("/v1/jobs")).json()] == ["own"]
        assert_problem(await client.get("/v1/jobs/odd"), 409)
        assert (await client.delete("/v1/jobs/odd")).status_code == 204
        assert await store.field_of(JOBS, "odd") is None

    async def test_files_and_results_that_cannot_be_read(self, bench: Bench) -> None:
        jobs = JobRegistry(bench.store)
        own = Job("own", "file:///media", 2)
        await jobs.create(own, job_records(own, 2))
        await bench.store.redis.lpush(f"{JOBS}:todo:own", "{", '{"spec": {"url": 7}}')
        await bench.store.redis.rpush(f"{JOBS}:results:own", "\xff")
        bench.start_worker("w1", sink=CollectingSink(), source_of=lambda spec: ScriptedSource(gray_frames(3)))

        async def is_done() -> bool:
            return (await jobs.progress("own")).is_done

        await until(is_done)
        progress, results = await jobs.results("own", start=0, limit=10)
        assert (progress.num_ended, progress.num_failed, progress.num_frames) == (2, 2, 6)
        assert sorted(result.stream_id for result in results) == ["", "", "", "own.1", "own.2"]


async def test_an_id_that_is_taken_by_what_cannot_be_read(store: RegistryStore) -> None:
    await write(store, "door", "{")
    with pytest.raises(UnreadableRecordError):
        await StreamRegistry(store).create(live_record())
    await write(store, "own", json.dumps(content()))
    with pytest.raises(StreamExistsError):
        await StreamRegistry(store).create(live_record("own"))


async def test_the_client_reads_a_list_with_unreadable_records(clients: Clients, store: RegistryStore) -> None:
    await write(store, "odd", "{")
    client: httpx.AsyncClient = await clients.open()
    listed = (await client.get("/v1/streams", params={"prefix": "o"})).json()
    assert (listed["unreadable"], listed["num_matching"]) == (["odd"], 0)
    assert (await client.get("/v1/streams", params={"prefix": "p"})).json()["unreadable"] == []
