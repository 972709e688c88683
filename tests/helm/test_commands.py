"""What the chart runs is there: commands of emostream, and files that they read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from emostream.cli.app import app
from emostream.client.http.apply import read_streams
from tests.helm.chart import Helm, RenderError, containers, environment_of, named, pods
from tests.helm.test_rendering import HASH, MATRIX

pytestmark = pytest.mark.integration


def _commands(command: list[str]) -> list[list[str]]:
    """The words of each `emostream …` that a container runs, by itself or in a shell."""
    if command[:1] == ["emostream"]:
        return [command]
    return [line.split() for line in re.findall(r"^\s*(emostream .*)$", "\n".join(command), flags=re.MULTILINE)]


def test_every_command_and_option_exists(helm: Helm) -> None:
    root = typer.main.get_command(app)
    found = []
    for template in pods(helm.render(MATRIX["streams"] | MATRIX["gpu"])).values():
        for container in containers(template):
            found += _commands(container.get("command", []))
    assert ["emostream", "models", "verify"] in found
    assert ["emostream", "models", "compile", "emotions"] in found
    assert ["emostream", "streams", "list"] in found  # of `helm test`
    for words in found:
        command, rest = root, words[1:]
        while rest and hasattr(command, "commands"):
            assert rest[0] in command.commands, f"{' '.join(words)}: there is no such command"
            command = command.commands[rest.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


def test_the_job_reads_what_the_values_say(helm: Helm, tmp_path: Path) -> None:
    documents = helm.render(MATRIX["streams"])
    path = tmp_path / "streams.json"
    path.write_text(
        named(documents, "Secret")["demo-emostream-streams"]["stringData"]["streams.json"], encoding="utf-8"
    )
    streams = read_streams(path)
    assert [(stream.id, stream.url) for stream in streams] == [
        ("door", "rtsp://user:p%40ss@10.1.2.3/stream1"),
        ("yard", "rtsp://10.1.2.3/stream2"),
        ("gate", "rtsp://10.1.2.3/stream3"),
        ("clip", "file:///media/clip.mp4"),
    ]
    assert streams[0].smoothing_seconds == 1.5
    (job,) = named(documents, "Job").values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = environment_of(container)
    assert environment["EMOSTREAM_SERVICE_URL"] == "http://demo-emostream-serve-svc:8000"
    assert environment["EMOSTREAM_SERVICE_TOKEN"] == {"secretKeyRef": {"name": "demo-emostream-api", "key": "token"}}
    assert "p%40ss" not in str(job)


def test_the_job_runs_after_each_installation_and_upgrade(helm: Helm) -> None:
    (job,) = named(helm.render(MATRIX["streams"]), "Job").values()
    assert job["metadata"]["annotations"] == {
        "helm.sh/hook": "post-install,post-upgrade",
        "helm.sh/hook-delete-policy": "before-hook-creation",  # a job cannot be changed
    }
    assert "ttlSecondsAfterFinished" not in job["spec"]


def test_the_test_asks_with_the_token_that_there_is(helm: Helm) -> None:
    def pod(values: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = pods(helm.render(values))["Pod demo-emostream-test"]
        return found

    (container,) = containers(pod({}))
    assert environment_of(container)["EMOSTREAM_SERVICE_TOKEN"]["secretKeyRef"]["name"] == "demo-emostream-api"
    assert pod({})["metadata"]["annotations"]["helm.sh/hook"] == "test"
    without = {"auth": {"generate": False, "tokens": MATRIX["tokens by hash"]["auth"]["tokens"]}}
    (container,) = containers(pod(without))
    assert "EMOSTREAM_SERVICE_TOKEN" not in environment_of(container)
    assert "/readyz" in container["command"][2]
    assert "streams list" not in container["command"][2]


def test_a_token_of_ones_own_is_used(helm: Helm) -> None:
    values = MATRIX["tokens by hash"] | {"streamsJob": {"tokenSecret": "ops", "tokenKey": "write"}}
    (job,) = named(helm.render(values), "Job").values()
    environment = environment_of(job["spec"]["template"]["spec"]["containers"][0])
    assert environment["EMOSTREAM_SERVICE_TOKEN"] == {"secretKeyRef": {"name": "ops", "key": "write"}}
    assert HASH not in str(job)


def test_an_open_interface_needs_none(helm: Helm) -> None:
    values = {"auth": {"enabled": False}, "streams": [{"id": "a", "url": "rtsp://a"}]}
    (job,) = named(helm.render(values), "Job").values()
    assert "EMOSTREAM_SERVICE_TOKEN" not in environment_of(job["spec"]["template"]["spec"]["containers"][0])


def test_the_token_secret_is_required(helm: Helm) -> None:
    with pytest.raises(RenderError, match=re.escape("set streamsJob.tokenSecret")):
        helm.render(MATRIX["tokens by hash"] | {"streamsJob": {"tokenSecret": ""}})
