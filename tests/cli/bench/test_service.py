"""A clip becomes a camera on the network, and the service is measured beside the plain pipeline."""

from __future__ import annotations

import itertools
import json
from itertools import pairwise
from pathlib import Path

import pytest

from emostream.cli.bench.camera import NetworkCamera
from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceRejectedError
from tests.integration.command_line import run_emostream
from tests.media import make_clip
from tests.ports import unused_port

pytestmark = pytest.mark.integration


def test_a_clip_is_sent_over_and_over_in_real_time(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num_frames=25, width=128, height=96)
    port = unused_port()
    spec = StreamSpec("camera", f"udp://0.0.0.0:{port}", StreamKind.LIVE)
    with (
        NetworkCamera(clip, port=port) as camera,
        PyAVSource(spec, settings=DecodeSettings(open_timeout_seconds=8, read_timeout_seconds=4)) as source,
    ):
        frames = list(itertools.islice(source, 60))
        assert camera.fps == 25
    distances = [other.pts_seconds - one.pts_seconds for one, other in pairwise(frames)]
    # The first pictures may lack one that they refer to.
    assert distances[4:] == pytest.approx([0.04] * 55, abs=0.005), "one round follows the other"
    assert source.num_discontinuities == 0


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"nothing")
    with pytest.raises(SourceRejectedError):
        NetworkCamera(tmp_path / "clip.mp4", port=9)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_service_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    clip = make_clip(tmp_path / "clip.mp4", num_frames=50, width=320, height=180)
    options = ("--files", "2", "--streams", "2", "--seconds", "3", "--runs", "1", "--json")
    outcome = run_emostream("bench", "service", str(clip), *options)
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert (result["num_files"], result["num_frames"], result["num_streams"]) == (2, 100, 2)
    assert result["plain_fps"] > 0
    assert result["service_fps"] > 0
    assert result["cost_ratio"] == pytest.approx(1 - result["service_fps"] / result["plain_fps"])
    assert result["live_fps"] > 0
    assert result["api_requests"] == 150
    assert result["api_ms"]["p50"] <= result["api_ms"]["p99"]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_cost_of_a_shared_classifier_is_measured() -> None:
    pytest.importorskip("ray")
    outcome = run_emostream("bench", "service", "--shared", "--streams", "2", "--seconds", "2", "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert (result["num_streams"], result["fps"], result["faces_per_frame"]) == (2, 25, 2)
    assert result["at_home_ms"] > 0
    assert result["shared_ms"] > 0
    assert result["ratio"] == pytest.approx(result["shared_ms"] / result["at_home_ms"], abs=0.01)
    # Both streams' crops of 20 ms travel together: no more calls than frames.
    assert 0 < result["shared_calls_per_second"] <= 50
    assert 0 < result["shared_latency_ms"]["p50"] <= result["shared_latency_ms"]["p99"]
