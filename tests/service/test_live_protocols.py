"""Live sources of every kind through the parts of the service, from real senders and servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from emostream.config import load_settings
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.service.egress.policy import SourcePolicy
from emostream.service.egress.proxy import Egress
from emostream.service.registry.records import StreamRecord
from emostream.service.worker.host import StopReason, StreamHost
from emostream.testing.fakes import CollectingSink
from tests.decode.cameras import odd_clock_camera
from tests.media import http_server, wait_until
from tests.ports import unused_port
from tests.service.egress.test_rtsp import host_on
from tests.service.live_sender import LiveSender, sending
from tests.service.lossy_udp import lossy_udp
from tests.service.mjpeg_server import mjpeg_server
from tests.service.rtmp_server import rtmp_server
from tests.service.worker.test_host import until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

UDP_PORT = unused_port()


@pytest.fixture
def sink() -> CollectingSink:
    return CollectingSink()


@pytest.fixture
async def host(sink: CollectingSink) -> AsyncIterator[StreamHost]:
    settings = load_settings(
        service={"allowed_networks": ["127.0.0.0/8"], "udp_ports": [UDP_PORT]},
        decode={"open_timeout_seconds": 8.0, "read_timeout_seconds": 4.0},
    )
    policy = SourcePolicy(settings.service)
    with Egress(policy) as egress, host_on(settings, policy=policy, egress=egress, sink=sink) as host:
        yield host
        await host.stop_all(StopReason.REMOVED)


def watch(host: StreamHost, url: str) -> None:
    host.start(StreamRecord(StreamSpec("door", url, StreamKind.LIVE)), epoch=1)


async def has_events(sink: CollectingSink, num_more: int = 40, *, timeout_seconds: float = 40) -> None:
    """Wait for more events; all of them are in order."""
    wanted = len(sink.events) + num_more
    await until(lambda: len(sink.events) >= wanted, timeout_seconds=timeout_seconds)
    assert all(
        one.frame_index < other.frame_index and one.pts_seconds < other.pts_seconds
        for one, other in pairwise(sink.events)
    )


def to_udp(**attributes: Any) -> LiveSender:
    return LiveSender(f"udp://127.0.0.1:{UDP_PORT}?pkt_size=1316", "mpegts", **attributes)


async def test_mjpeg_over_http_and_a_camera_that_restarts(host: StreamHost, sink: CollectingSink) -> None:
    port = unused_port()
    with mjpeg_server(port) as url:
        watch(host, url)
        await has_events(sink)
        assert host.reports()["door"].decoder == "mjpeg"
    await until(lambda: host.reports()["door"].state is StreamState.RECONNECTING, timeout_seconds=20)
    with mjpeg_server(port):
        await has_events(sink, timeout_seconds=60)


async def test_rtmp(host: StreamHost, sink: CollectingSink, tmp_path: Path) -> None:
    with rtmp_server(tmp_path) as url, sending(LiveSender(url, "flv")) as sender:
        assert await asyncio.to_thread(wait_until, lambda: sender.num_sent > 10, timeout_seconds=20)
        watch(host, url)
        await has_events(sink)


async def test_stamps_that_stand_still_are_said(host: StreamHost, sink: CollectingSink) -> None:
    with odd_clock_camera(lambda at: 0.0, seconds=20) as url:
        watch(host, url)
        await until(lambda: sink.statuses and sink.statuses[-1].detail, timeout_seconds=30)
        assert [status.state for status in sink.statuses] == [StreamState.RUNNING] * 2
        await has_events(sink)
        assert host.reports()["door"].detail == sink.statuses[-1].detail


async def test_a_live_playlist(host: StreamHost, sink: CollectingSink, tmp_path: Path) -> None:
    options = {"hls_time": "1", "hls_list_size": "4", "hls_flags": "delete_segments"}
    playlist = tmp_path / "live.m3u8"
    with http_server(tmp_path) as base, sending(LiveSender(str(playlist), "hls", options=options)):
        assert await asyncio.to_thread(wait_until, playlist.exists, timeout_seconds=30)
        watch(host, f"{base}/live.m3u8")
        await has_events(sink, 100)  # more than the playlist held at the beginning


async def test_mpegts_over_udp_and_what_changes_in_it(host: StreamHost, sink: CollectingSink) -> None:
    with sending(to_udp()) as sender:
        watch(host, f"udp://:{UDP_PORT}")
        await has_events(sink)
        sender.change(width=480, height=270)
        await until(lambda: sink.events[-1].frame_width == 480, timeout_seconds=30)
        sender.change(first_pts=1_000_000)
        await has_events(sink)
        assert max(other.pts_seconds - one.pts_seconds for one, other in pairwise(sink.events)) < 5
        assert host.reports()["door"].num_reconnects == 0
        sender.change(codec="mpeg2video")
        await until(lambda: host.reports()["door"].decoder == "mpeg2video", timeout_seconds=120)
        await has_events(sink)
    assert {event.epoch for event in sink.events} == {1}


async def test_a_fifth_of_the_packets_lost(host: StreamHost, sink: CollectingSink) -> None:
    with lossy_udp(UDP_PORT, loss_ratio=0.2) as port:
        sender = LiveSender(f"udp://127.0.0.1:{port}?pkt_size=1316", "mpegts")
        with sending(sender):
            watch(host, f"udp://:{UDP_PORT}")
            await has_events(sink, 60, timeout_seconds=60)
    assert host.reports()["door"].num_corrupt > 0


async def test_a_sender_that_stops_for_a_while(host: StreamHost, sink: CollectingSink) -> None:
    with sending(to_udp()):
        watch(host, f"udp://:{UDP_PORT}")
        await has_events(sink)
    await until(lambda: host.reports()["door"].state is StreamState.RECONNECTING, timeout_seconds=30)
    with sending(to_udp()):
        await has_events(sink, timeout_seconds=60)


async def test_what_this_ffmpeg_does_not_know_is_said(host: StreamHost) -> None:
    watch(host, "srt://127.0.0.1:9")
    await until(lambda: host.reports()["door"].state is StreamState.PENDING)
    assert "this build of FFmpeg has no such protocol" in host.reports()["door"].detail
