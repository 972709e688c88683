"""Live streams from a real RTSP server through the parts of the service: its loss and return, and silent cameras."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from emostream.config import ServiceSettings, Settings, load_settings
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.pipeline.build import Models
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress
from emostream.service.registry.records import StreamRecord
from emostream.service.worker.host import StopReason, StreamHost
from emostream.service.worker.stream_factory import WorkerStreamFactory
from emostream.testing.fakes import CollectingSink, ConstantClassifier, ScriptedDetector
from emostream.vision.classify.batcher import CropBatcher
from tests.ports import unused_port
from tests.publish.redis.test_servers import make_certificate
from tests.service.rtsp import need_gstreamer, rtsp_server
from tests.service.tcp_proxy import TcpProxy
from tests.service.worker.test_host import until
from tests.service.worker.test_stream_factory import AnywherePolicy

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def sink() -> CollectingSink:
    return CollectingSink()


@contextlib.contextmanager
def host_on(settings: Settings, *, policy: SourcePolicy, egress: Egress, sink: CollectingSink) -> Iterator[StreamHost]:
    """Streams as in a worker, with models that find nothing."""
    classifier = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=32)
    models = Models(detector=ScriptedDetector([[]]), classifier=classifier)
    parts = WorkerStreamFactory(settings, models=models, policy=policy, egress=egress)
    yield StreamHost(parts, sink=sink, worker_id="w1")
    classifier.close()


@pytest.fixture
async def host(sink: CollectingSink) -> AsyncIterator[StreamHost]:
    settings = load_settings(
        service={"allowed_networks": ["127.0.0.0/8"]},
        decode={"open_timeout_seconds": 2.0, "read_timeout_seconds": 2.0},
    )
    policy = SourcePolicy(settings.service)
    with Egress(policy) as egress, host_on(settings, policy=policy, egress=egress, sink=sink) as host:
        yield host
        await host.stop_all(StopReason.REMOVED)


def record_of(url: str, stream_id: str = "door") -> StreamRecord:
    return StreamRecord(StreamSpec(stream_id, url, StreamKind.LIVE))


async def test_a_server_that_goes_away_and_comes_back(host: StreamHost, sink: CollectingSink) -> None:
    need_gstreamer()
    port = unused_port()
    with rtsp_server(port) as url:
        host.start(record_of(url), epoch=1)
        await until(lambda: len(sink.events) > 50, timeout_seconds=20)
    await until(lambda: host.reports()["door"].state is StreamState.RECONNECTING, timeout_seconds=20)
    num_before = len(sink.events)
    await asyncio.sleep(30)
    with rtsp_server(port):
        await until(lambda: len(sink.events) > num_before + 25, timeout_seconds=90)  # up to 30 s of back-off
        report = host.reports()["door"]
    assert (report.state, report.num_reconnects) == (StreamState.RUNNING, 1)
    assert [event.state for event in sink.statuses] == [
        StreamState.RUNNING,
        StreamState.RECONNECTING,
        StreamState.RUNNING,
    ]
    assert all(
        one.frame_index < other.frame_index and one.pts_seconds < other.pts_seconds
        for one, other in pairwise(sink.events)
    )
    gap_seconds = max(other.pts_seconds - one.pts_seconds for one, other in pairwise(sink.events))
    assert gap_seconds > 30


async def test_media_over_udp_where_the_operator_wants_it(sink: CollectingSink) -> None:
    need_gstreamer()
    settings = load_settings(service={"allowed_networks": ["127.0.0.0/8"]}, decode={"rtsp_transport": "udp"})
    policy = SourcePolicy(settings.service)
    with (
        rtsp_server() as url,
        Egress(policy) as egress,
        host_on(settings, policy=policy, egress=egress, sink=sink) as host,
    ):
        host.start(record_of(url), epoch=1)
        await until(lambda: len(sink.events) > 40, timeout_seconds=30)
        assert psutil.Process().net_connections("udp"), "media came another way"
        await host.stop_all(StopReason.REMOVED)


async def test_the_clock_of_the_camera_is_read(host: StreamHost, sink: CollectingSink) -> None:
    need_gstreamer()
    with rtsp_server() as url:
        host.start(record_of(url), epoch=1)
        await until(lambda: host.reports()["door"].source_delay_ms is not None, timeout_seconds=30)
        delay_ms = host.reports()["door"].source_delay_ms
    assert delay_ms is not None
    assert -100 < delay_ms < 5000  # server and client are one machine


async def test_eight_streams_run_without_losses(host: StreamHost, sink: CollectingSink) -> None:
    need_gstreamer()

    def num_dropped() -> int:
        return sum(report.num_dropped for report in host.reports().values())

    def have_all(num_frames: int) -> bool:
        return all(report.num_frames >= num_frames for report in host.reports().values())

    with rtsp_server() as url:
        for number in range(8):
            host.start(record_of(url, f"s{number}"), epoch=number + 1)
        await until(lambda: have_all(50), timeout_seconds=60)  # all connections are made
        dropped_before = num_dropped()
        await until(lambda: have_all(200), timeout_seconds=60)
        reports = host.reports().values()
        # None on an idle machine; tests share theirs with others.
        assert num_dropped() - dropped_before <= 0.01 * 8 * 150
    assert all((report.latency_ms or 1e9) < 1000 for report in reports)


@pytest.fixture
def silent_camera() -> Iterator[str]:
    """Accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"


async def test_a_camera_that_accepts_and_says_nothing(
    host: StreamHost, sink: CollectingSink, silent_camera: str
) -> None:
    host.start(record_of(silent_camera), epoch=1)
    await until(lambda: host.reports()["door"].state is StreamState.RECONNECTING, timeout_seconds=15)
    assert host.reports()["door"].detail
    started = time.monotonic()
    await host.stop("door", StopReason.REMOVED)
    assert time.monotonic() - started < 8


async def test_dead_streams_do_not_disturb_living_ones(
    host: StreamHost, sink: CollectingSink, silent_camera: str
) -> None:
    need_gstreamer()
    dead = f"rtsp://127.0.0.1:{unused_port()}/live"
    with rtsp_server() as url:
        for number in range(10):
            host.start(record_of(dead if number % 2 else silent_camera, f"dead{number}"), epoch=number + 1)
        host.start(record_of(url, "living"), epoch=100)
        await until(lambda: host.reports()["living"].num_frames > 100, timeout_seconds=30)
        reports = host.reports()
    # At the beginning, where a server sends what it has at once; tests share their machine with others.
    assert reports["living"].num_dropped <= 0.3 * reports["living"].num_frames
    started = time.monotonic()
    await host.stop_all(StopReason.REMOVED)
    assert time.monotonic() - started < 8


@contextlib.asynccontextmanager
async def behind_tls(url: str, folder: Path) -> AsyncIterator[str]:
    """The same server over TLS: its URL."""
    make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    async with TcpProxy(urlsplit(url).port or 554, tls=context) as server:
        yield f"rtsps://127.0.0.1:{server.port}/live"


@pytest.mark.parametrize("is_tls", [False, True], ids=["rtsp", "rtsps"])
async def test_cameras_outside_the_operators_networks(sink: CollectingSink, tmp_path: Path, is_tls: bool) -> None:
    need_gstreamer()
    policy = AnywherePolicy(ServiceSettings())
    async with contextlib.AsyncExitStack() as stack:
        url = stack.enter_context(rtsp_server())
        if is_tls:
            url = await stack.enter_async_context(behind_tls(url, tmp_path))
        egress = stack.enter_context(Egress(policy))
        host = stack.enter_context(host_on(load_settings(), policy=policy, egress=egress, sink=sink))
        host.start(record_of(url), epoch=1)
        await until(lambda: len(sink.events) > 40, timeout_seconds=20)
        await host.stop_all(StopReason.REMOVED)
