"""The Compose file: the real program takes it, and what it names is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from emostream.cli.app import app
from emostream.client.http.apply import read_streams
from emostream.config import load_settings
from emostream.service.egress.policy import SourcePolicy
from tests.conftest import REPOSITORY
from tests.deploy.dockerfile import read_dockerfile
from tests.external_tools import ToolMissingError, tool_path

DEPLOY = REPOSITORY / "deploy"
COMPOSE = DEPLOY / "compose.yaml"

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Services by name, as Docker Compose understands them."""
    try:
        program = tool_path("docker-compose")
    except ToolMissingError as exc:
        pytest.skip(str(exc))
    command = [str(program), "--file", str(COMPOSE), "--profile", "tracing", "config", "--format", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert (result.returncode, result.stderr) == (0, "")
    found: dict[str, dict[str, Any]] = json.loads(result.stdout)["services"]
    return found


def test_every_service_is_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"redis", "emostream", "streams", "clip", "camera", "prometheus", "grafana", "jaeger"}
    assert [name for name, service in services.items() if service.get("profiles")] == ["jaeger"]


def test_images_are_pinned_by_version(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", service["image"]), name


def test_nothing_is_reached_from_other_machines(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
        assert service.get("network_mode") is None
        assert not service.get("privileged")


def test_containers_gain_no_rights_and_ours_have_none(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        if service["image"].startswith("emostream:"):
            assert service["cap_drop"] == ["ALL"], name
    assert services["emostream"]["read_only"] is True


def test_files_that_are_mounted_exist(services: dict[str, dict[str, Any]]) -> None:
    made_later = {str(DEPLOY / "prometheus"), str(DEPLOY / "grafana")}  # empty folders where nothing is shipped yet
    sources = {
        mount["source"]
        for service in services.values()
        for mount in service.get("volumes", [])
        if mount["type"] == "bind"
    }
    assert sources
    assert all(Path(source).exists() for source in sources - made_later)


def test_its_commands_and_options_exist(services: dict[str, dict[str, Any]]) -> None:
    root = typer.main.get_command(app)
    for name in ("emostream", "streams"):
        command, words = root, list(services[name]["command"])
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, name


def test_the_build_arguments_are_those_of_the_dockerfile(services: dict[str, dict[str, Any]]) -> None:
    build = services["emostream"]["build"]
    dockerfile = read_dockerfile(Path(build["context"]) / build["dockerfile"])
    known = {item.text.partition("=")[0] for item in dockerfile.stages[0].all_of("ARG")}
    assert set(build["args"]) <= known


def test_the_service_may_watch_the_sample_camera(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services["emostream"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    (stream,) = read_streams(DEPLOY / "compose" / "streams.yaml")
    assert settings.tracing.ratio == 0
    policy = SourcePolicy(settings.service, resolver=lambda host: {"camera": ["172.30.77.5"]}[host])
    assert policy.check(stream.url) == "rtsp://172.30.77.5:8554/sample"
    networks = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["networks"]["default"]["ipam"]["config"]
    assert [network["subnet"] for network in networks] == list(settings.service.allowed_networks)


def test_the_camera_has_the_path_of_the_stream() -> None:
    camera = yaml.safe_load((DEPLOY / "compose" / "mediamtx.yml").read_text(encoding="utf-8"))
    (stream,) = read_streams(DEPLOY / "compose" / "streams.yaml")
    assert list(camera["paths"]) == [stream.url.rpartition("/")[2]]
    assert "/media/sample.mp4" in camera["paths"]["sample"]["runOnInit"]


def test_the_clip_of_the_camera_is_made(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    (code,) = services["clip"]["command"]
    code = code.replace("/media", str(tmp_path)).replace("num_frames=750", "num_frames=5")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "sample.mp4").stat().st_size > 1000


def test_grafana_finds_its_dashboards_where_they_are_mounted(services: dict[str, dict[str, Any]]) -> None:
    provider = yaml.safe_load((DEPLOY / "compose/grafana/dashboards/emostream.yaml").read_text(encoding="utf-8"))
    targets = {mount["target"]: mount["source"] for mount in services["grafana"]["volumes"]}
    assert targets[provider["providers"][0]["options"]["path"]] == str(DEPLOY / "grafana")
    assert targets["/etc/grafana/provisioning"] == str(DEPLOY / "compose" / "grafana")
    source = yaml.safe_load((DEPLOY / "compose/grafana/datasources/prometheus.yaml").read_text(encoding="utf-8"))
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_grafana_makes_no_requests_outside(services: dict[str, dict[str, Any]]) -> None:
    environment = services["grafana"]["environment"]
    asked = ("ANALYTICS_REPORTING_ENABLED", "ANALYTICS_CHECK_FOR_UPDATES", "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES")
    fetched = ("NEWS_NEWS_FEED_ENABLED", "PLUGINS_PREINSTALL_AUTO_UPDATE")
    assert {environment[f"GF_{name}"] for name in (*asked, *fetched)} == {"false"}
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == environment["GF_SECURITY_DISABLE_GRAVATAR"] == "true"


def test_prometheus_scrapes_the_service_and_reads_the_alerts(services: dict[str, dict[str, Any]]) -> None:
    config = yaml.safe_load((DEPLOY / "compose" / "prometheus.yaml").read_text(encoding="utf-8"))
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["emostream:8000"]}]
    targets = {mount["target"]: mount["source"] for mount in services["prometheus"]["volumes"]}
    (rules,) = config["rule_files"]
    assert targets[str(Path(rules).parent)] == str(DEPLOY / "prometheus")
    assert Path(rules).name == "alerts.yaml"


def test_promtool_takes_the_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, from Debian's package prometheus")
    command = [promtool, "check", "config", "--syntax-only", str(DEPLOY / "compose" / "prometheus.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
