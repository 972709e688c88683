"""The whole service on Ray under running streams: its models' processes killed, the application redeployed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from emostream.domain.event import EmotionEvent
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from tests.deployments.service_process import Service, running_service, wait_for
from tests.service.conftest import SETTINGS
from tests.service.mjpeg_server import jpegs_of, mjpeg_server
from tests.service.rtsp import need_gstreamer, rtsp_server

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]


def events_of(url: str) -> dict[str, list[EmotionEvent]]:
    """All events by stream, in order."""
    found: dict[str, list[EmotionEvent]] = {}
    for entry in RedisReader(SETTINGS, redis_url=url, start="start", follow=False).iterate():
        if isinstance(entry.event, EmotionEvent):
            found.setdefault(entry.event.stream_id, []).append(entry.event)
    return found


def assert_in_order(found: dict[str, list[EmotionEvent]]) -> None:
    for stream_id, events in found.items():
        keys = [(event.epoch, event.frame_index) for event in events]
        assert all(one < other for one, other in pairwise(keys)), f"{stream_id}: an event twice, or out of order"


def states(service: Service) -> set[str]:
    return {stream["state"] for stream in service.client.streams()}


def test_killed_models_and_what_serve_itself_needs(shared_videos: Path, tmp_path: Path) -> None:
    pictures = jpegs_of(shared_videos / "one-face-640x360.mp4")
    with (
        EmbeddedRedis() as redis,
        mjpeg_server(pictures=pictures) as url,
        running_service(
            *("--allow-network", "127.0.0.0/8", "--shared-classifier", "--shared-detector", "--redis", redis.url),
            log=tmp_path / "serve.log",
        ) as service,
    ):
        service.client.add({"id": "door", "url": url, "kind": "live"})

        def num_with_faces() -> int:
            return sum(bool(event.faces) for event in events_of(redis.url).get("door", []))

        wait_for(lambda: num_with_faces() > 20, timeout_seconds=60)
        for deployment in ("EmotionClassification", "FaceDetection"):
            os.kill(service.replica_pids(deployment)[0], signal.SIGKILL)
            time.sleep(0.5)
            enough = num_with_faces() + 20
            seconds = wait_for(lambda enough=enough: num_with_faces() > enough, timeout_seconds=90)  # type: ignore[misc]
            print(f"faces again {seconds:.1f} s after {deployment} was killed")
            assert states(service) == {"running"}
        epoch = service.client.show("door")["epoch"]
        for actor in ("ServeController", "ProxyActor"):
            os.kill(service.actor_pid(actor), signal.SIGKILL)
            seconds = wait_for(lambda: answers(service, num_streams=1), timeout_seconds=90)
            print(f"the interface answers {seconds:.1f} s after {actor} was killed")
        enough = num_with_faces() + 20
        wait_for(lambda: num_with_faces() > enough, timeout_seconds=90)
        assert service.client.show("door")["epoch"] == epoch, "what Serve lost does not touch streams"
        assert_in_order(events_of(redis.url))


_FRAGILE_DETECTOR = """
import ctypes
import threading
from pathlib import Path
from emostream.decode.blocked_calls import BLOCKED_CALLS
from emostream.domain.face import Face
from emostream.errors import InferenceError

class Fragile:
    name = "fragile"
    num_blocked = 0

    def detect(self, luma):
        while Path(__file__).with_name("blocked").exists() and self.num_blocked < 49:
            call = threading.Thread(target=ctypes.CDLL(None).pause, daemon=True)  # never returns
            call.start()
            BLOCKED_CALLS.left_behind(call)
            self.num_blocked += 1
        if Path(__file__).with_name("broken").exists():
            raise InferenceError("CUDA failed: cudaErrorECCUncorrectable")
        return []

def fragile(settings):
    return Fragile()
"""


def test_a_worker_whose_engine_breaks_or_whose_calls_never_return_is_replaced(
    shared_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "plugin"
    metadata = plugin / "fragile-1.0.dist-info"
    metadata.mkdir(parents=True)
    (plugin / "fragile.py").write_text(_FRAGILE_DETECTOR)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[emostream.detectors]\nfragile = fragile:fragile\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("EMOSTREAM_DETECT__KIND", "fragile")
    pictures = jpegs_of(shared_videos / "one-face-640x360.mp4")
    with (
        EmbeddedRedis() as redis,
        mjpeg_server(pictures=pictures) as url,
        running_service(
            *("--allow-network", "127.0.0.0/8", "--redis", redis.url), log=tmp_path / "serve.log"
        ) as service,
    ):
        service.client.add({"id": "door", "url": url, "kind": "live"})
        wait_for(lambda: len(events_of(redis.url).get("door", [])) > 20, timeout_seconds=60)
        (before,) = service.replica_pids("StreamWorkers")
        (plugin / "broken").touch()
        wait_for(lambda: before not in service.replica_pids("StreamWorkers"), timeout_seconds=90)
        assert states(service) <= {"pending", "connecting", "running", "reconnecting"}
        (plugin / "broken").unlink()
        num_before = len(events_of(redis.url)["door"])
        wait_for(lambda: len(events_of(redis.url)["door"]) > num_before + 20, timeout_seconds=90)
        wait_for(lambda: states(service) == {"running"}, timeout_seconds=30)
        (before,) = service.replica_pids("StreamWorkers")
        (plugin / "blocked").touch()
        wait_for(lambda: before not in service.replica_pids("StreamWorkers"), timeout_seconds=120)
        (plugin / "blocked").unlink()
        wait_for(lambda: not psutil.pid_exists(before), timeout_seconds=60)  # and with it what was blocked
        num_before = len(events_of(redis.url)["door"])
        wait_for(lambda: len(events_of(redis.url)["door"]) > num_before + 20, timeout_seconds=90)
        assert_in_order(events_of(redis.url))


def test_a_redeployment_under_running_streams(tmp_path: Path) -> None:
    need_gstreamer()
    with (
        EmbeddedRedis() as redis,
        rtsp_server() as url,
        running_service(
            *("--allow-network", "127.0.0.0/8", "--workers", "2", "--redis", redis.url), log=tmp_path / "serve.log"
        ) as service,
    ):
        for number in range(4):
            service.client.add({"id": f"cam{number}", "url": url})
        wait_for(lambda: all(len(events) > 20 for events in padded(redis.url)), timeout_seconds=60)
        before = {stream["id"]: stream["worker_id"] for stream in service.client.streams()}
        workers = service.replica_pids("StreamWorkers")
        command = [sys.executable, "-m", "tests.deployments.redeploy", redis.url, "9"]
        subprocess.run(command, check=True, timeout=180, env=os.environ | service.ray_environment())
        wait_for(lambda: not set(workers) & set(service.replica_pids("StreamWorkers")), timeout_seconds=60)
        wait_for(lambda: answers(service) and states(service) == {"running"}, timeout_seconds=60)
        num_before = [len(events) for events in padded(redis.url)]
        wait_for(
            lambda: all(len(events) > num + 20 for events, num in zip(padded(redis.url), num_before, strict=True)),
            timeout_seconds=60,
        )
        after = {stream["id"]: stream["worker_id"] for stream in service.client.streams()}
        assert not set(before.values()) & set(after.values()), "all workers are new"
        found = events_of(redis.url)
        assert_in_order(found)
        gaps = [
            (other.captured_at - one.captured_at).total_seconds()
            for events in found.values()
            for one, other in pairwise(events)
        ]
        print(f"longest gap of a stream over the redeployment: {max(gaps):.1f} s")
        assert max(gaps) < 10


def padded(url: str) -> list[list[EmotionEvent]]:
    """Events of all four streams."""
    found = events_of(url)
    return [found.get(f"cam{number}", []) for number in range(4)]


def answers(service: Service, *, num_streams: int = 4) -> bool:
    try:
        return len(list(service.client.streams())) == num_streams
    except Exception:  # whatever a service says that is being replaced
        return False
