"""Ray or the application does not start: one message that says what to do, whatever Ray says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emostream.config import load_settings
from emostream.deployments.local import error_of_app, error_of_ray, is_slow_start
from emostream.errors import ConfigError, EmostreamError
from tests.integration.command_line import run_emostream
from tests.ports import unused_port

pytest.importorskip("ray")

import ray

from emostream.deployments import local

SLOW = Exception("The current node timed out during startup. This could happen because some of the raylet failed")
TRACEBACK = """The deployment failed to start 3 times in a row. Error:
ray::ServeReplica:emostream:StreamWorkers.initialize_and_get_metadata() (pid=1)
RuntimeError: Traceback (most recent call last):
  File "load.py", line 1, in load
    raise ModelUnavailableError(
emostream.errors.ModelUnavailableError: model file x.onnx does not exist;
put it there"""


def test_a_start_that_took_too_long() -> None:
    error = error_of_ray(SLOW, address=None)
    assert is_slow_start(SLOW)
    assert error.exit_code == 1


def test_other_reasons() -> None:
    assert not is_slow_start(OSError("no"))
    assert str(error_of_ray(OSError("no space left\nat line 3"), address=None)).endswith(": no space left")
    assert str(error_of_ray(OSError(), address=None)).endswith(": OSError")
    refused = error_of_ray(ConnectionError("nobody there"), address="10.0.0.1:6379")
    assert isinstance(refused, ConfigError)
    assert "10.0.0.1:6379: nobody there" in str(refused)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"StreamWorkers": TRACEBACK}, "StreamWorkers did not start: model file x.onnx does not exist;\nput it there"),
        ({"Ingress": "Traceback:\nImportError: no module x\n"}, "Ingress did not start: ImportError: no module x"),
        ({"Ingress": ""}, "the application did not start: failed"),
        ({}, "the application did not start: failed"),
    ],
    ids=["an error of ours", "another error", "nothing told", "Serve is gone"],
)
def test_the_application_did_not_come_up(told: dict[str, str], message: str) -> None:
    assert str(error_of_app(RuntimeError("failed\nwith more"), told=told)).startswith(message)


@pytest.mark.parametrize("num_failures", [1, 2])
def test_a_slow_start_is_tried_once_more(monkeypatch: pytest.MonkeyPatch, num_failures: int) -> None:
    failures = [SLOW] * num_failures

    def init(**options: Any) -> None:
        if failures:
            raise failures.pop()

    # A Ray that cannot start is not to be had in a test: it would take a minute, and a machine that is too busy.
    monkeypatch.setattr(ray, "init", init)
    if num_failures == 1:
        local._start_ray(load_settings(), address=None)
    else:
        with pytest.raises(EmostreamError):
            local._start_ray(load_settings(), address=None)
    assert not failures


@pytest.mark.integration
def test_a_folder_in_which_ray_cannot_work(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)  # the names of its sockets get too long
    folder.mkdir()
    outcome = run_emostream("serve", "--port", str(unused_port()), environment={"RAY_TMPDIR": str(folder)})
    assert outcome.code == 1
    assert "Ray did not start on this machine" in outcome.err


@pytest.mark.integration
@pytest.mark.slow
def test_a_worker_that_cannot_load_its_model(tmp_path: Path) -> None:
    outcome = run_emostream(
        "serve", "--port", str(unused_port()), environment={"EMOSTREAM_CLASSIFY__MODEL": str(tmp_path / "no.onnx")}
    )
    assert outcome.code == 1
    assert f"StreamWorkers did not start: model file {tmp_path / 'no.onnx'} does not exist" in outcome.err
