"""What happens to a service happens to a whole worker here: cut networks, dead cameras, full disks, jumping clocks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from emostream.config import PublishSettings, Settings, load_settings
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.pipeline.build import Models
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.service.registry.records import StreamRecord
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.open import open_worker
from emostream.testing.fakes import ConstantClassifier, ScriptedDetector, face_at
from emostream.vision.classify.batcher import CropBatcher
from tests.ports import unused_port
from tests.service.conftest import SETTINGS
from tests.service.http_service import served_api
from tests.service.mjpeg_server import mjpeg_server
from tests.service.rtsp import need_gstreamer, rtsp_server
from tests.service.streams import live_record
from tests.service.tcp_proxy import TcpProxy
from tests.service.worker_bench import Bench, bench, events_of, until

__all__ = ["bench"]
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def settings_of(**publish: object) -> Settings:
    return load_settings(
        service={
            "allowed_networks": ["127.0.0.0/8"],
            "max_streams_per_worker": 100,
            "heartbeat_seconds": 0.1,
            "lease_seconds": 3.0,
        },
        decode={"open_timeout_seconds": 2.0, "read_timeout_seconds": 2.0},
        publish={"connect_timeout_seconds": 2.0, "max_retry_seconds": 20.0, **publish},
    )


@contextlib.asynccontextmanager
async def a_worker(redis_url: str, *, settings: Settings | None = None) -> AsyncIterator[None]:
    """A whole worker as in a deployment, with models that cost nothing."""
    classifier = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=32)
    models = Models(detector=ScriptedDetector([[face_at(10, 10)]]), classifier=classifier)
    async with open_worker(settings or settings_of(), redis_url=redis_url, worker_id="w1", models=models):
        yield
    classifier.close()


def camera(stream_id: str, url: str, *, fps: float | None = None) -> StreamRecord:
    return StreamRecord(StreamSpec(stream_id, url, StreamKind.LIVE, target_fps=fps))


async def num_running(bench: Bench) -> int:
    return sum(status.state is StreamState.RUNNING for status in await bench.statuses())


def assert_in_order(found: dict[str, list[tuple[int, int]]]) -> None:
    for stream_id, entries in found.items():
        assert all(one < other for one, other in pairwise(entries)), f"{stream_id}: an event twice, or out of order"


async def test_a_network_that_is_cut_without_a_word(bench: Bench, redis_server: EmbeddedRedis) -> None:
    need_gstreamer()
    port = unused_port()
    with rtsp_server(port):
        async with TcpProxy(port) as network, a_worker(redis_server.url):
            await bench.registry.create(camera("door", f"rtsp://127.0.0.1:{network.port}/live"))
            await until(lambda: bench.is_state("door", StreamState.RUNNING), timeout_seconds=30)
            network.hold()
            await until(lambda: bench.is_state("door", StreamState.RECONNECTING), timeout_seconds=30)
            network.let_flow()
            await network.cut()
            await until(lambda: bench.is_state("door", StreamState.RUNNING), timeout_seconds=60)
            num_before = len((await events_of(redis_server.url)).get("door", []))

            async def goes_on() -> bool:
                return len((await events_of(redis_server.url)).get("door", [])) > num_before + 20

            await until(goes_on, timeout_seconds=30)
            report = (await bench.status("door")).report
            assert report is not None
            assert report.num_reconnects >= 1
            assert report.last_error
    assert_in_order(await events_of(redis_server.url))


@pytest.fixture
def silent() -> Iterator[str]:
    """A camera that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"


async def test_fifty_streams_of_which_half_are_dead(bench: Bench, redis_server: EmbeddedRedis, silent: str) -> None:
    dead = f"rtsp://127.0.0.1:{unused_port()}/live"
    with mjpeg_server() as url:
        async with a_worker(redis_server.url):
            for number in range(25):
                await bench.registry.create(camera(f"living{number}", url, fps=1))
                await bench.registry.create(camera(f"dead{number}", dead if number % 2 else silent))

            async def half_run() -> bool:
                return await num_running(bench) == 25

            await until(half_run, timeout_seconds=120)
            before = {name: len(entries) for name, entries in (await events_of(redis_server.url)).items()}
            await asyncio.sleep(8)
            after = {name: len(entries) for name, entries in (await events_of(redis_server.url)).items()}
            assert set(after) == {f"living{number}" for number in range(25)}
            assert all(after[name] > before.get(name, 0) for name in after)
            assert {status.state for status in await bench.statuses() if "dead" in status.record.stream_id} <= {
                StreamState.CONNECTING,
                StreamState.RECONNECTING,
            }


async def test_a_hundred_streams_come_and_go_and_leave_nothing(bench: Bench, redis_server: EmbeddedRedis) -> None:
    process = psutil.Process()

    async def cycle(url: str, round_number: int) -> None:
        for number in range(10):
            # Some live, some dead, some of a kind that fails for good.
            source = (url, f"rtsp://127.0.0.1:{unused_port()}/x", url + "/absent/../nothing")[number % 3]
            await bench.registry.create(camera(f"s{number}", source))

        async def living_run() -> bool:
            return await num_running(bench) >= 4

        await until(living_run, timeout_seconds=60)
        for number in range(10):
            await bench.registry.remove(f"s{number}")

        async def all_gone() -> bool:
            return not (await bench.look()).leases and not (await bench.look()).records

        await until(all_gone, timeout_seconds=60)

    async def held() -> tuple[list[str], int, list[bytes]]:
        await asyncio.sleep(1)
        gc.collect()
        keys = sorted([key async for key in bench.store.redis.scan_iter("emostream:*")])
        # Those of pools come and go; their number is bounded.
        pools = ("asyncio_", "emostream-dns_")
        names = sorted(thread.name for thread in threading.enumerate() if not thread.name.startswith(pools))
        return names, process.num_fds(), keys

    with mjpeg_server() as url:
        async with a_worker(redis_server.url):
            for round_number in range(3):  # what is made once is made now
                await cycle(url, round_number)
            threads, files, keys = await held()
            rss_before = process.memory_info().rss
            for round_number in range(10):
                await cycle(url, round_number)
            threads_after, files_after, keys_after = await held()
            rss_after = process.memory_info().rss
    assert threads_after == threads
    # Connections in pools come and go by a few.
    assert files_after <= files + 5
    assert keys_after == keys
    assert rss_after < rss_before + (40 << 20)


async def test_a_reader_of_events_that_does_not_read(bench: Bench, redis_server: EmbeddedRedis) -> None:
    with mjpeg_server() as url:
        async with a_worker(redis_server.url), served_api(settings_of(), redis_url=redis_server.url) as base:
            await bench.registry.create(camera("door", url))
            await until(lambda: bench.is_state("door", StreamState.RUNNING), timeout_seconds=30)
            host, port = base.removeprefix("http://").split(":")
            lazy = [await asyncio.open_connection(host, int(port)) for _ in range(10)]
            for _, writer in lazy:
                writer.write(b"GET /v1/streams/door/events?from=start HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(3)
            report = (await bench.status("door")).report
            assert report is not None
            assert (report.state, report.num_dropped) == (StreamState.RUNNING, 0) or report.measured_fps > 5
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET /v1/streams/door HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            for _, other in (*lazy, (reader, writer)):
                other.transport.abort()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=False)


async def test_redis_away_and_the_disk_of_the_spool_full(small_disk: Path, tmp_path: Path) -> None:
    port = unused_port()
    settings = settings_of(spool_dir=small_disk, max_retry_seconds=0.5)
    server = EmbeddedRedis(data_dir=tmp_path / "data", port=port, password="secret")
    await asyncio.to_thread(server.start)
    try:
        with mjpeg_server() as url:
            async with RegistryStore(SETTINGS, redis_url=server.url) as store, a_worker(server.url, settings=settings):
                bench = Bench(store)
                await bench.registry.create(camera("door", url))
                await until(lambda: bench.is_state("door", StreamState.RUNNING), timeout_seconds=30)
                os.kill(server.server_pid, signal.SIGKILL)
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(20)  # far more events than the disk takes
                server = EmbeddedRedis(data_dir=tmp_path / "data", port=port, password="secret")
                await asyncio.to_thread(server.start)

                async def has_new() -> bool:
                    return any(event.num_dropped > 0 for event in await all_events(server.url))

                await until(has_new, timeout_seconds=60)
                await until(lambda: bench.is_state("door", StreamState.RUNNING), timeout_seconds=60)
                num_before = len(await all_events(server.url))

                async def goes_on() -> bool:
                    return len(await all_events(server.url)) > num_before + 20

                await until(goes_on, timeout_seconds=60)
                assert_in_order(await events_of(server.url))
                await bench.close()
    finally:
        await asyncio.to_thread(server.stop)


async def all_events(url: str) -> list[EmotionEvent]:
    async with RedisReader(PublishSettings(), redis_url=url, start="start", follow=False) as reader:
        return [entry.event async for entry in reader if isinstance(entry.event, EmotionEvent)]


async def test_a_clock_that_jumps(bench: Bench, redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    if not FAKETIME.exists():
        pytest.skip("needs faketime: run tests/install-debian-packages.sh")
    clock = tmp_path / "clock"
    clock.write_text("+0s")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    await bench.registry.create(live_record("door"))
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.service.worker_process", redis_server.url, "w1"), env=environment
    )
    try:
        await until(lambda: bench.is_state("door", StreamState.RUNNING), timeout_seconds=60)
        epoch = (await bench.status("door")).lease
        for jump in ("-3600s", "+7200s", "+0s"):
            clock.write_text(jump)
            num_before = len((await events_of(redis_server.url)).get("door", []))

            async def goes_on(num_before: int = num_before) -> bool:
                return len((await events_of(redis_server.url)).get("door", [])) > num_before + 25

            await until(goes_on, timeout_seconds=20)
    finally:
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 20) == 0
    events = await all_events(redis_server.url)
    assert epoch is not None
    assert {event.epoch for event in events} == {epoch.epoch}
    # A busy machine may drop a frame, and says so; none is lost in silence, twice or out of order.
    nexts = [event.frame_index - event.num_dropped for event in events]
    assert nexts == [0, *(event.frame_index + 1 for event in events[:-1])]
    captured = [event.captured_at for event in events]
    jumps = [abs((other - one).total_seconds()) > 3000 for one, other in pairwise(captured)]
    assert sum(jumps) == 3, "the clock did not jump"
