"""`emostream streams apply` on a real interface and registry."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from emostream.client.http.apply import Applied, apply_streams, read_streams, wait_until_ready
from emostream.client.http.json_client import ApiClient, ApiError
from emostream.config import load_settings
from emostream.errors import ConfigError, ServiceUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.app import build_api
from tests.integration.command_line import run_emostream
from tests.ports import unused_port

DOOR = {"id": "door", "url": "rtsp://user:secret@127.0.0.1:9/1", "target_fps": 5}
HALL = {"id": "hall", "url": "rtsp://user:secret@127.0.0.1:9/2"}


@pytest.fixture(scope="module")
def service_url() -> Iterator[str]:
    """The interface over HTTP, without any worker."""
    with EmbeddedRedis() as redis:
        settings = load_settings(service={"allowed_networks": ["127.0.0.0/8"]})
        port = unused_port()
        config = uvicorn.Config(
            build_api(settings, redis_url=redis.url), host="127.0.0.1", port=port, log_level="error", ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(service_url: str) -> ApiClient:
    """Of an interface that watches nothing."""
    client = ApiClient(service_url)
    _wait_until_it_answers(client)
    for stream in list(client.streams()):
        client.remove(stream["id"])
    return client


def _wait_until_it_answers(client: ApiClient) -> None:
    for _ in range(100):
        try:
            client.call("GET", "/livez")
            return
        except ServiceUnavailableError:
            threading.Event().wait(0.1)
    raise AssertionError("the interface does not answer")


def _write(folder: Path, streams: Any) -> Path:
    path = folder / "streams.json"
    path.write_text(json.dumps(streams), encoding="utf-8")
    return path


def _apply(client: ApiClient, folder: Path, *streams: dict[str, Any]) -> dict[str, Applied]:
    return dict(apply_streams(client, read_streams(_write(folder, streams))))


@pytest.mark.integration
def test_asking_again_changes_nothing(client: ApiClient, tmp_path: Path) -> None:
    assert _apply(client, tmp_path, DOOR, HALL) == {"door": Applied.ADDED, "hall": Applied.ADDED}
    before = list(client.streams())
    assert _apply(client, tmp_path, DOOR, HALL) == {"door": Applied.UNCHANGED, "hall": Applied.UNCHANGED}
    assert list(client.streams()) == before


@pytest.mark.integration
def test_another_pace_is_changed_and_another_source_replaced(client: ApiClient, tmp_path: Path) -> None:
    _apply(client, tmp_path, DOOR, HALL)
    zone = {"name": "in", "polygon": [[0, 0], [1, 0], [1, 1]]}
    changed = DOOR | {"target_fps": None, "every": 2, "paused": True, "zones": [zone]}
    other = HALL | {"url": "rtsp://user:other@127.0.0.1:9/2"}
    assert _apply(client, tmp_path, changed, other) == {"door": Applied.CHANGED, "hall": Applied.REPLACED}
    door = client.show("door")
    assert (door["target_fps"], door["every"], door["paused"], len(door["zones"])) == (None, 2, True, 1)
    assert _apply(client, tmp_path, DOOR, other) == {"door": Applied.CHANGED, "hall": Applied.UNCHANGED}
    door = client.show("door")
    assert (door["target_fps"], door["every"], door["paused"], door["zones"]) == (5, 1, False, [])


@pytest.mark.integration
def test_streams_that_are_not_in_the_file_are_left_alone(client: ApiClient, tmp_path: Path) -> None:
    _apply(client, tmp_path, DOOR, HALL)
    _apply(client, tmp_path, DOOR)
    assert {stream["id"] for stream in client.streams()} == {"door", "hall"}


@pytest.mark.integration
def test_a_stream_that_the_service_refuses_is_an_error(client: ApiClient, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match=r"service\.allowed_networks"):
        _apply(client, tmp_path, {"id": "inside", "url": "rtsp://10.0.0.1/1"})


@pytest.mark.integration
def test_waiting_ends_with_the_reason(client: ApiClient) -> None:
    with pytest.raises(ServiceUnavailableError, match="503"):
        wait_until_ready(client, timeout_seconds=0)  # there is no worker


@pytest.mark.integration
def test_the_command(client: ApiClient, service_url: str, tmp_path: Path) -> None:
    arguments = ("streams", "apply", _write(tmp_path, [DOOR, HALL]), "--service", service_url)
    assert run_emostream(*arguments).out == "door: added\nhall: added\n"
    assert run_emostream(*arguments).out == "door: unchanged\nhall: unchanged\n"
    outcome = run_emostream(*arguments, "--wait", "0.1")
    assert outcome.code == 6
    assert "was not ready within 0.1 s" in outcome.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "must hold a list of streams, got dict"),
        ("[1", "is neither YAML nor JSON near line 1"),
        ("- 3", "stream 1: entry: Input should be a valid dictionary"),
        ("- {url: rtsp://a}", "stream 1: id: a stream in a file needs one"),
        ("- {id: a, url: rtsp://a}\n- {id: a, url: rtsp://b}", "more than one stream with the id a"),
        ("- {id: a, url: rtsp://a, fps: 3}", "stream 1: fps: Extra inputs are not permitted"),
        ("- {id: a b, url: rtsp://user:secret@a}", "stream 1: id: String should match pattern"),
    ],
)
def test_a_bad_file_is_refused_before_any_request(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "streams.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_streams(path)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_streams(tmp_path / "none.yaml")


@pytest.mark.integration
def test_the_kind_of_a_stream_can_be_given(client: ApiClient, service_url: str) -> None:
    webcam = ("http://127.0.0.1:9/webcam", "--id", "webcam", "--kind", "live")
    outcome = run_emostream("streams", "add", *webcam, "--service", service_url)
    assert outcome.code == 0, outcome.err
    assert client.show("webcam")["kind"] == "live"
