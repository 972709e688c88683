"""Whole folders as one job: every file once, bounded in number at a time, over killed workers, with honest progress."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import fsspec
import httpx
import pytest

from emostream.config import ServiceSettings
from emostream.domain.address import file_path
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import SourceRejectedError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.egress.folder import find_files
from emostream.service.egress.policy import SourcePolicy
from emostream.service.registry.jobs import Job, JobExistsError, JobRegistry, UnknownJobError, records_of
from emostream.service.registry.records import StreamRecord, StreamReport, json_from_record
from emostream.service.registry.store import DONE_JOBS, OPEN_JOBS, RECORDS
from emostream.service.registry.streams import StreamExistsError
from emostream.testing.fakes import CollectingSink, ScriptedSource, gray_frames
from emostream.wire.job_models import VIDEO_PATTERNS
from tests.media import make_clip
from tests.publish.samples import events_of as published_events
from tests.service.api.test_app import Clients, assert_problem, clients
from tests.service.conftest import SETTINGS, LeasesOf
from tests.service.worker_bench import Bench, bench, events_of, until, worker_process

__all__ = ["bench", "clients"]

LIKE = StreamRecord(StreamSpec("file", "file://", StreamKind.FILE))


def records(job: Job, num_files: int, *, max_frames: int | None = None) -> list[StreamRecord]:
    like = replace(LIKE, spec=replace(LIKE.spec, max_frames=max_frames))
    return records_of(job, [f"file:///media/{number}.mp4" for number in range(num_files)], like=like)


class TestFiles:
    """Which files a job has."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "media"
        (root / "2026").mkdir(parents=True)
        for name in ("b.MP4", "2026/a.mkv", "notes.txt", "2026/empty.mp4"):
            (root / name).write_bytes(b"x")
        (tmp_path / "secret.mp4").write_bytes(b"x")
        (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
        return root

    @pytest.fixture
    def policy(self, root: Path) -> SourcePolicy:
        return SourcePolicy(ServiceSettings(media_root=root, object_stores=("memory:///videos/",)))

    def test_videos_of_a_folder_and_those_below(self, root: Path, policy: SourcePolicy) -> None:
        found = find_files(f"file://{root}", patterns=VIDEO_PATTERNS, policy=policy, max_files=10)
        assert found == [f"file://{root}/{name}" for name in ("2026/a.mkv", "2026/empty.mp4", "b.MP4")]
        assert find_files(f"file://{root}", patterns=["a.*"], policy=policy, max_files=10) == [
            f"file://{root}/2026/a.mkv"
        ]

    def test_names_that_look_encoded(self, root: Path, policy: SourcePolicy) -> None:
        (root / "50%20off.mp4").write_bytes(b"x")
        (found,) = find_files(f"file://localhost{root}", patterns=["50*"], policy=policy, max_files=10)
        assert file_path(policy.check(found)) == str(root / "50%20off.mp4")

    @pytest.mark.parametrize(
        ("url", "patterns", "said"),
        [
            ("file://{root}/..", ["*"], "no such file under the media root"),
            ("file://{root}/b.MP4", ["*"], "expected a folder"),
            ("file://{root}", ["*.avi"], r"\*\.avi"),
            ("file://{root}", ["*"], "more than 2 files"),
            ("memory:///other/", ["*"], "service.object_stores"),
            ("memory:///videos/../other/", ["*"], "service.object_stores"),
            ("http://127.0.0.1/", ["*"], "use a folder"),
        ],
    )
    def test_refusals(self, root: Path, policy: SourcePolicy, url: str, patterns: list[str], said: str) -> None:
        with pytest.raises(SourceRejectedError, match=said):
            find_files(url.format(root=root), patterns=patterns, policy=policy, max_files=2)

    def test_a_prefix_of_an_object_store(self, policy: SourcePolicy) -> None:
        store = fsspec.filesystem("memory")
        store.pipe("/videos/a.mp4", b"x")
        store.pipe("/other/b.mp4", b"x")
        found = find_files("memory:///videos/", patterns=VIDEO_PATTERNS, policy=policy, max_files=2)
        assert found == ["memory:///videos/a.mp4"]
        store.rm("/", recursive=True)


@pytest.mark.integration
class TestJobs:
    """A job in the registry, with workers in this process and others."""

    @pytest.fixture
    def jobs(self, bench: Bench) -> JobRegistry:
        return JobRegistry(bench.store)

    async def test_every_file_once_and_few_at_a_time(self, bench: Bench, jobs: JobRegistry) -> None:
        sink = CollectingSink()
        bench.start_worker("w1", sink=sink, source_of=lambda spec: ScriptedSource(gray_frames(6)))
        job = Job("archive", "file:///media", max_parallel=3)
        assert await jobs.create(job, records(job, 8))
        assert not await jobs.create(job, records(job, 8))
        most = 0

        async def is_done() -> bool:
            nonlocal most
            progress = await jobs.progress("archive")
            assert progress.num_files == 8
            most = max(most, progress.num_active)
            return progress.is_done

        await until(is_done, timeout_seconds=40)
        assert 1 <= most <= 3
        progress, results = await jobs.results("archive", start=0, limit=100)
        assert (progress.num_ended, progress.num_failed, progress.num_frames) == (8, 0, 48)
        assert {result.url for result in results} == {f"file:///media/{number}.mp4" for number in range(8)}
        assert {(result.state, result.num_frames) for result in results} == {(StreamState.ENDED, 6)}
        assert len(sink.events) == 48
        assert (await bench.look()).records == {}, "finished files leave the registry"
        second = (await jobs.results("archive", start=5, limit=2))[1]
        assert second == results[5:7]

    async def test_a_job_goes_on_over_a_killed_worker(
        self, bench: Bench, jobs: JobRegistry, redis_server: EmbeddedRedis
    ) -> None:
        job = Job("archive", "file:///media", max_parallel=2)
        await jobs.create(job, records(job, 4, max_frames=60))
        async with worker_process(redis_server.url, "w1") as first:

            async def is_at_work() -> bool:
                return (await jobs.progress("archive")).num_frames > 5

            await until(is_at_work, timeout_seconds=30)
            first.send_signal(signal.SIGKILL)
        async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
            bench.start_worker("w2", sink=sink)

            async def is_done() -> bool:
                return (await jobs.progress("archive")).is_done

            await until(is_done, timeout_seconds=60)
        found = await events_of(redis_server.url)
        assert {name: [index for _, index in entries] for name, entries in found.items()} == {
            f"archive.{number}": list(range(60)) for number in range(1, 5)
        }
        assert (await jobs.progress("archive")).num_frames == 240

    async def test_files_that_fail_and_streams_that_are_removed(self, bench: Bench, jobs: JobRegistry) -> None:
        def source_of(spec: StreamSpec) -> ScriptedSource:
            if spec.stream_id == "archive.1":
                return ScriptedSource([], open_error=SourceRejectedError("it is no video"))
            return ScriptedSource(gray_frames(2))

        job = Job("archive", "file:///media", max_parallel=1)
        await jobs.create(job, records(job, 4))
        await jobs.feed(max_streams=10)
        bench.start_worker("w1", sink=CollectingSink(), source_of=source_of)

        async def is_done() -> bool:
            return (await jobs.progress("archive")).is_done

        await until(is_done, timeout_seconds=30)
        progress, results = await jobs.results("archive", start=0, limit=10)
        assert (progress.num_ended, progress.num_failed) == (3, 1)
        (failed,) = [result for result in results if result.state is StreamState.FAILED]
        assert (failed.stream_id, "no video" in failed.detail) == ("archive.1", True)

    async def test_streams_and_files_of_jobs_do_not_share_ids(self, bench: Bench, jobs: JobRegistry) -> None:
        job, own = Job("archive", "file:///media"), replace(LIKE, spec=replace(LIKE.spec, stream_id="archive.3"))
        await bench.registry.create(own)
        with pytest.raises(JobExistsError):
            await jobs.create(job, records(job, 4))
        assert await jobs.all() == []
        await bench.registry.remove("archive.3")
        await jobs.create(job, records(job, 4))
        for number in (1, 3, 99):
            with pytest.raises(StreamExistsError):
                await bench.registry.create(replace(own, spec=replace(own.spec, stream_id=f"archive.{number}")))
        await bench.registry.create(replace(own, spec=replace(own.spec, stream_id="archive.x")))

    async def test_an_id_that_was_taken_meanwhile_fails_its_file_alone(self, bench: Bench, jobs: JobRegistry) -> None:
        job = Job("archive", "file:///media", max_parallel=1)
        await jobs.create(job, records(job, 2))
        other = replace(LIKE, spec=replace(LIKE.spec, stream_id="archive.1"))
        await bench.store.redis.hset(RECORDS, "archive.1", json_from_record(other))
        bench.start_worker("w1", sink=CollectingSink(), source_of=lambda spec: ScriptedSource(gray_frames(2)))

        async def is_done() -> bool:
            return (await jobs.progress("archive")).is_done

        await until(is_done)
        _, results = await jobs.results("archive", start=0, limit=10)
        states = {result.stream_id: result.state for result in results}
        assert states == {"archive.1": StreamState.FAILED, "archive.2": StreamState.ENDED}
        assert "archive.1" in (await bench.look()).records

    async def test_a_job_that_is_created_again_after_a_loss_goes_on(self, bench: Bench, jobs: JobRegistry) -> None:
        sink = CollectingSink()
        bench.start_worker("w1", sink=sink)
        job = Job("archive", "file:///media", max_parallel=2)
        await jobs.create(job, records(job, 4, max_frames=40))

        async def is_at_work() -> bool:
            return len(sink.events) > 5

        await until(is_at_work)
        await bench.store.redis.flushall()

        async def is_written_back() -> bool:
            return len((await bench.look()).records) == 2

        await until(is_written_back)
        await jobs.create(job, records(job, 4, max_frames=40))

        async def is_done() -> bool:
            return (await jobs.progress("archive")).is_done

        await until(is_done, timeout_seconds=40)
        assert (await jobs.progress("archive")).num_ended == 4
        assert (await bench.look()).records == {}

    async def test_figures_are_those_of_all_runs(self, bench: Bench, jobs: JobRegistry, leases_of: LeasesOf) -> None:
        job = Job("archive", "file:///media", max_parallel=1)
        await jobs.create(job, records(job, 1))
        await jobs.feed(max_streams=10)
        for number, (state, num_frames) in enumerate(
            [(StreamState.RUNNING, 3), (StreamState.RUNNING, 5), (StreamState.ENDED, 7)]
        ):
            worker = leases_of(f"w{number}")
            await worker.heartbeat({})
            held = await worker.claim(["archive.1"])
            for num_so_far in (1, num_frames):
                now = state if num_so_far > 1 else StreamState.RUNNING
                report = StreamReport(now, epoch=held["archive.1"], num_frames=num_so_far, num_faces=2 * num_so_far)
                await worker.report({"archive.1": report})
            progress = await jobs.progress("archive")
            assert (progress.num_frames, progress.num_faces) == ([3, 8, 15][number], [6, 16, 30][number])
            await worker.release(held)
        await jobs.feed(max_streams=10)
        progress, (result,) = await jobs.results("archive", start=0, limit=1)
        assert (progress.num_ended, progress.num_frames, progress.num_faces) == (1, 15, 30)
        assert (result.num_frames, result.num_faces) == (15, 30)

    @pytest.mark.parametrize("num_reported", [0, 3, 7])
    async def test_what_a_killed_worker_had_not_reported_counts(
        self, bench: Bench, jobs: JobRegistry, leases_of: LeasesOf, redis_server: EmbeddedRedis, num_reported: int
    ) -> None:
        job = Job("archive", "file:///media", max_parallel=1)
        await jobs.create(job, records(job, 1, max_frames=10))
        await jobs.feed(max_streams=10)
        killed = leases_of("killed")
        await killed.heartbeat({})
        epoch = (await killed.claim(["archive.1"]))["archive.1"]
        if num_reported:
            report = StreamReport(
                StreamState.RUNNING,
                epoch=epoch,
                num_frames=num_reported,
                num_faces=num_reported,
                last_index=num_reported - 1,
            )
            await killed.report({"archive.1": report})
        async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
            await sink.publish(published_events("archive.1", range(7), epoch=epoch))
            bench.start_worker("heir", sink=sink)

            async def is_done() -> bool:
                return (await jobs.progress("archive")).is_done

            await until(is_done, timeout_seconds=40)
        (result,) = (await jobs.results("archive", start=0, limit=1))[1]
        events = [index for _, index in (await events_of(redis_server.url))["archive.1"]]
        assert (events, result.num_frames) == (list(range(10)), 10)
        assert result.num_faces >= 7

    async def test_finished_jobs_cost_nothing(self, bench: Bench, jobs: JobRegistry) -> None:
        async def num_commands() -> int:
            before = await bench.store.redis.info("commandstats")
            await jobs.feed(max_streams=10)
            after = await bench.store.redis.info("commandstats")
            return sum(after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after)

        open_job = Job("open", "file:///media", max_parallel=1)
        await jobs.create(open_job, records(open_job, 2))
        for number in range(50):
            await jobs.create(Job(f"done{number}", "file:///media"), [])
        await bench.store.redis.delete(OPEN_JOBS, DONE_JOBS)  # as an earlier version leaves it
        assert await num_commands() > 50
        assert await num_commands() < 40
        assert len(await jobs.all()) == 51
        assert (await jobs.progress("open")).num_active == 1

    async def test_live_streams_find_room_beside_a_large_job(self, bench: Bench, jobs: JobRegistry) -> None:
        worker = bench.start_worker("w1", sink=CollectingSink(), max_streams=8)
        job = Job("archive", "file:///media", max_parallel=100)
        await jobs.create(job, records(job, 50))

        async def is_full() -> bool:
            return (await jobs.progress("archive")).num_active == 6

        await until(is_full)

        async def is_backlog_known() -> bool:
            return worker.load.num_wanted == 50  # what autoscaling goes by

        await until(is_backlog_known)
        await bench.registry.create(replace(LIKE, spec=replace(LIKE.spec, stream_id="door", kind=StreamKind.LIVE)))
        await until(lambda: bench.is_state("door", StreamState.RUNNING))

    async def test_a_removed_job_leaves_nothing(self, bench: Bench, jobs: JobRegistry) -> None:
        bench.start_worker("w1", sink=CollectingSink())
        job = Job("archive", "file:///media")
        await jobs.create(job, records(job, 5))

        async def is_at_work() -> bool:
            return bool((await bench.look()).leases)

        await until(is_at_work)
        with pytest.raises(JobExistsError):
            await jobs.create(replace(job, url="file:///other"), records(job, 5))
        await jobs.remove("archive")

        async def is_gone() -> bool:
            view = await bench.look()
            return not view.leases and not view.records

        await until(is_gone)
        assert not [key async for key in bench.store.redis.scan_iter("*jobs*")]
        for call in (jobs.remove("archive"), jobs.progress("archive")):
            with pytest.raises(UnknownJobError):
                await call


@pytest.mark.integration
class TestHttp:
    """Jobs over HTTP."""

    @pytest.fixture
    async def client(self, clients: Clients, bench: Bench, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
        for number in range(3):
            make_clip(tmp_path / "archive" / f"{number}.mp4", num_frames=2) if number else (
                tmp_path / "archive"
            ).mkdir()
        bench.start_worker("w1", sink=CollectingSink(), source_of=lambda spec: ScriptedSource(gray_frames(4)))
        yield await clients.open()

    async def test_from_wish_to_removal(self, client: httpx.AsyncClient, tmp_path: Path) -> None:
        body = {"id": "archive", "url": f"file://{tmp_path}/archive/", "target_fps": 10, "min_score": 0.5}
        created = await client.post("/v1/jobs", json=body)
        assert (created.status_code, created.json()["num_files"]) == (201, 2)
        assert created.headers["location"] == "/v1/jobs/archive"
        assert (await client.post("/v1/jobs", json=body)).status_code == 200
        assert_problem(await client.post("/v1/jobs", json={**body, "parallel": 7}), 409)
        async with asyncio.timeout(20):
            while not (await client.get("/v1/jobs/archive")).json()["done"]:
                await asyncio.sleep(0.1)
        for file in (tmp_path / "archive").iterdir():
            file.unlink()
        assert (await client.post("/v1/jobs", json=body)).status_code == 200, "its files may be gone by then"
        page = (await client.get("/v1/jobs/archive/files?limit=1")).json()
        assert (page["next_start"], page["files"][0]["state"], page["files"][0]["num_frames"]) == (1, "ended", 2)
        assert (await client.get("/v1/jobs/archive/files?start=1")).json()["next_start"] is None
        assert [job["id"] for job in (await client.get("/v1/jobs")).json()] == ["archive"]
        assert (await client.delete("/v1/jobs/archive")).status_code == 204
        for method, path in (("GET", ""), ("GET", "/files"), ("DELETE", "")):
            assert_problem(await client.request(method, f"/v1/jobs/archive{path}"), 404)

    @pytest.mark.parametrize(
        "change",
        [{"url": "file:///etc/"}, {"id": "a b"}, {"id": "x" * 60}, {"patterns": []}, {"parallel": 0}, {"kind": "live"}],
    )
    async def test_refusals(self, client: httpx.AsyncClient, tmp_path: Path, change: dict[str, object]) -> None:
        body = {"id": "archive", "url": f"file://{tmp_path}/archive/", **change}
        assert_problem(await client.post("/v1/jobs", json=body), 422)
