"""The whole service on Ray: from a submitted file to events, a killed worker, an orderly end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import urllib.request
from pathlib import Path

import psutil
import pytest

from emostream.domain.event import EmotionEvent
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from tests.deployments.service_process import running_service, serve_process, wait_for
from tests.integration.command_line import run_emostream
from tests.media import make_clip, textured_picture
from tests.ports import has_ipv6_loopback, unused_port
from tests.publish.redis.test_servers import make_certificate
from tests.service.conftest import SETTINGS

pytest.importorskip("ray")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]


def published(url: str, stream_id: str) -> list[tuple[int, int]]:
    """(epoch, frame index) of all events of a stream, in order."""
    reader = RedisReader(SETTINGS, redis_url=url, stream_ids=[stream_id], start="start", follow=False)
    events = [entry.event for entry in reader.iterate()]
    return [(event.epoch, event.frame_index) for event in events if isinstance(event, EmotionEvent)]


def server_sent_indexes(url: str, stream_id: str) -> list[int]:
    """Frame indexes of all events that the interface sends until it says that it is over."""
    indexes = []
    with urllib.request.urlopen(f"{url}/v1/streams/{stream_id}/events?from=start", timeout=30) as response:
        for line in response:
            if line.startswith(b'data: {"'):
                indexes.append(json.loads(line[6:])["frame_index"])
            if line == b"event: end\n":
                break
    return indexes


def test_a_file_from_submission_to_its_end_over_a_killed_worker(tmp_path: Path) -> None:
    num_frames = 1500
    make_clip(tmp_path / "short.mp4", num_frames=30)
    make_clip(
        tmp_path / "long.mp4",
        num_frames=num_frames,
        width=640,
        height=360,
        picture=lambda index: textured_picture(index, width=640, height=360),
    )
    with (
        EmbeddedRedis() as redis,
        running_service(
            *("--host", "::1" if has_ipv6_loopback() else "127.0.0.1"),
            *("--media-root", tmp_path, "--workers", "2", "--redis", redis.url),
            log=tmp_path / "serve.log",
        ) as service,
    ):
        assert f"ready: {service.url}/ (console)" in (tmp_path / "serve.log").read_text()
        added = run_emostream("streams", "add", f"file://{tmp_path}/short.mp4", "--service", service.url, "--json")
        assert (added.code, json.loads(added.out)["id"]) == (0, "short")
        assert server_sent_indexes(service.url, "short") == list(range(30))
        assert [index for _, index in published(redis.url, "short")] == list(range(30))
        assert service.client.show("short")["state"] == "ended"
        refused = run_emostream("streams", "add", "file:///etc/passwd", "--service", service.url)
        assert refused.code == 1
        assert "no such file under the media root" in refused.err

        service.client.add({"id": "long", "url": f"file://{tmp_path}/long.mp4"})
        wait_for(lambda: len(published(redis.url, "long")) > 50, timeout_seconds=30)
        owner = service.client.show("long")["worker_id"]
        workers = service.replica_pids("StreamWorkers")
        assert len(workers) == 2
        # Which process it is only its memory of the stream tells; killing both kills the owner for certain.
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        before = published(redis.url, "long")
        wait_for(lambda: len(published(redis.url, "long")) > len(before), timeout_seconds=60)
        wait_for(lambda: service.client.show("long")["state"] == "ended", timeout_seconds=120)
        assert service.client.show("long")["worker_id"] != owner
        entries = published(redis.url, "long")
        assert [index for _, index in entries] == list(range(num_frames))
        assert len({epoch for epoch, _ in entries}) == 2
        assert service.stop() < 30


def test_a_shared_classifier_for_all_workers_over_tls(
    shared_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))  # what the client trusts
    monkeypatch.setenv("EMOSTREAM_CLASSIFY__EVERY_CROP", "true")  # so that faces can be counted in batches
    options = ("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem", "--shared-classifier")
    with (
        EmbeddedRedis() as redis,
        running_service(
            *options, "--media-root", shared_videos, "--redis", redis.url, log=tmp_path / "serve.log"
        ) as service,
    ):
        assert service.url.startswith("https://")
        service.client.add({"id": "faces", "url": f"file://{shared_videos}/two-people-head-pose-480x270.mp4"})
        wait_for(lambda: service.client.show("faces")["state"] == "ended", timeout_seconds=120)
        shown = service.client.show("faces")
        assert len(published(redis.url, "faces")) == shown["num_frames"] > 0
        assert shown["num_faces"] > shown["num_frames"]
        # Batches are made in a process of their own, and its figures are at the same address. Workers also send it a
        # reference crop now and then, to notice a classifier that fails.
        wait_for(lambda: _num_crops_in_batches(service.url) >= shown["num_faces"], timeout_seconds=30)
        assert _num_crops_in_batches(service.url) < shown["num_faces"] + 50


def _num_crops_in_batches(url: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    sums = [line for line in lines if line.startswith('emostream_classify_batch_size_sum{worker_id="classifier-')]
    return sum(float(line.split()[-1]) for line in sums)


def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    with (tmp_path / "serve.log").open("w+") as log, serve_process("--port", str(unused_port()), output=log) as process:
        whole = psutil.Process(process.pid)
        wait_for(lambda: any("ServeController" in name for name in titles_of(whole)), timeout_seconds=150)
        children = whole.children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
        log.seek(0)
        assert "stopped" in log.read().splitlines()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, [child.cmdline() for child in alive]


def titles_of(whole: psutil.Process) -> list[str]:
    """What the processes below this one call themselves."""
    titles = []
    for child in whole.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            titles.append(" ".join(child.cmdline()))
    return titles


def lives(process: psutil.Process) -> bool:
    """Whether it runs; nobody may wait for the children of Ray's processes that were killed."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_it_ends_with_an_error_when_ray_is_gone(tmp_path: Path, name: str) -> None:
    log = tmp_path / "log"
    with running_service(log=log) as service:
        before = service.descendants()
        (victim,) = [process for process in before if process.name() == name]
        victim.kill()
        assert service.process.wait(60) == 1
        wait_for(lambda: not any(lives(process) for process in before), timeout_seconds=60)
    said = " ".join(log.read_text().split())
    assert "start it again" in said
    assert "stopping:" not in said


def test_another_program_reads_from_the_redis_that_serve_starts(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", num_frames=30)
    port, log = unused_port(), tmp_path / "serve.log"
    with running_service("--redis-port", str(port), "--media-root", tmp_path, log=log) as service:
        wait_for(lambda: ".url" in log.read_text(), timeout_seconds=10)
        said = log.read_text()
        phases = re.findall(r"^ *[0-9.]+ s  (.+)$", said, re.MULTILINE)
        assert len(phases) >= 5 and len(set(phases)) == len(phases)
        (path,) = re.findall(r"on this machine: (\S+\.url)$", said, re.MULTILINE)
        url = Path(path).read_text().strip()
        assert url.endswith(f"@127.0.0.1:{port}/0")
        assert Path(path).stat().st_mode & 0o777 == 0o600
        password = url.removeprefix("redis://:").partition("@")[0]
        assert password and password not in said
        service.client.add({"id": "clip", "url": f"file://{tmp_path}/clip.mp4"})
        wait_for(lambda: service.client.show("clip")["state"] == "ended", timeout_seconds=60)
        for options, environment in (
            (["--no-follow"], {"EMOSTREAM_PUBLISH__REDIS_URL": url}),
            (["--service", service.url, "--from", "start"], {}),
        ):
            outcome = run_emostream("tail", "clip", "--json", *options, environment=environment)
            assert outcome.code == 0, outcome.err
            indexes = [json.loads(line)["frame_index"] for line in outcome.out.splitlines()]
            assert indexes == list(range(30))
    assert not Path(path).exists()
