"""The previous release and this version work on one Redis at the same time: through an upgrade, and back.

The previous release is the wheel of the last tag before this commit; as long as there is none, of a commit of an
earlier day.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.jobs import Job, JobRegistry
from tests.conftest import REPOSITORY
from tests.service import registry_process
from tests.service.conftest import SETTINGS
from tests.service.registry.test_jobs import records as job_records
from tests.service.test_other_versions import NEWER, write
from tests.service.worker_bench import Bench, bench, events_of, until

__all__ = ["bench"]

pytestmark = pytest.mark.integration

BEFORE_THE_FIRST_TAG = "e6176be5781fa4427f5e54cfcef02ecf1714c25b"


def git(*arguments: str) -> bytes:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its wheel, installed, with its tests beside it."""
    try:
        commit = git("describe", "--tags", "--abbrev=0", "HEAD^").decode().strip()
    except (subprocess.CalledProcessError, FileNotFoundError):
        commit = BEFORE_THE_FIRST_TAG
    folder = tmp_path_factory.mktemp("previous")
    try:
        archive = git("archive", commit)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip(f"the history of this checkout lacks {commit}")
    checkout, installed = folder / "checkout", folder / "installed"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(checkout, filter="data")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(checkout)], check=True, capture_output=True)
    (wheel,) = folder.glob("emostream-*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(installed)
    (checkout / "tests").rename(installed / "tests")
    return installed


async def call_previous(folder: Path, url: str, *arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, registry_process.__file__, url, *arguments),
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(printed)


@contextlib.asynccontextmanager
async def previous_worker(folder: Path, url: str, worker_id: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Drains at the end, as in an upgrade."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.service.worker_process", url, worker_id),
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_the_previous_release_is_another_one(previous: Path) -> None:
    """Its processes import what its wheel has, not this checkout."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import emostream, tests; print(emostream.__file__, tests.__file__)"),
        env={**os.environ, "PYTHONPATH": str(previous)},
        cwd=previous,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert [Path(path).parents[1] for path in printed.decode().split()] == [previous, previous]
    assert list(previous.glob("emostream-*.dist-info"))


async def test_upgrade_and_rollback(bench: Bench, redis_server: EmbeddedRedis, previous: Path) -> None:
    url = redis_server.url
    await call_previous(previous, url, "create", "door", "hall")

    def run_by(*workers: str) -> Any:
        async def check() -> bool:
            view = await bench.look()
            owners = {lease.worker_id for lease in view.leases.values()}
            running = [status for status in await bench.statuses() if status.state is StreamState.RUNNING]
            return owners == set(workers) and len(running) == len(view.records)

        return check

    async with RedisSink(SETTINGS, redis_url=url) as sink:
        async with previous_worker(previous, url, "old"):
            await until(run_by("old"))
            worker = bench.start_worker("new", sink=sink)
            await until(run_by("old", "new"))
            await write(bench.store, "lab", NEWER, epoch=0)
            assert set(await call_previous(previous, url, "list")) == {"door", "hall", "lab"}
            await until(run_by("old", "new"))
        await until(run_by("new"))  # the upgrade is done

        assert set(await call_previous(previous, url, "create", "late")) == {"door", "hall", "lab", "late"}
        await until(run_by("new"))
        async with previous_worker(previous, url, "rolled-back"):
            await until(run_by("new", "rolled-back"))
            await worker.drain(timeout_seconds=5)
            await until(run_by("rolled-back"))
            listed = await call_previous(previous, url, "remove", "lab", "late")
            assert listed == {"door": "running", "hall": "running"}

            async def is_given_back() -> bool:
                return (await bench.look()).leases.keys() == {"door", "hall"}

            await until(is_given_back)  # what was removed is watched no more
    for entries in (await events_of(url)).values():
        assert entries == sorted(set(entries))
        assert len({epoch for epoch, _ in entries}) > 1


async def test_jobs_that_both_feed(bench: Bench, redis_server: EmbeddedRedis, previous: Path) -> None:
    jobs = JobRegistry(bench.store)
    job = Job("archive", "file:///media", max_parallel=2)
    await jobs.create(job, job_records(job, 6, max_frames=10))

    async def is_half_done() -> bool:
        return (await jobs.progress("archive")).num_ended >= 2

    async def is_done() -> bool:
        return (await jobs.progress("archive")).is_done

    async with (
        RedisSink(SETTINGS, redis_url=redis_server.url) as sink,
        previous_worker(previous, redis_server.url, "old"),
    ):
        await until(is_half_done)
        bench.start_worker("new", sink=sink)
        await until(is_done)
    progress = await jobs.progress("archive")
    assert (progress.num_ended, progress.num_frames) == (6, 60)
