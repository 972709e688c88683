"""Every panel's query, against a real Prometheus that scrapes a live service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from emostream.cli.bench.paced_source import PacedSource
from emostream.config import DecodeSettings, load_settings
from emostream.decode.backoff import Backoff
from emostream.decode.live_source import LiveSource
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.registry import open_redis_sink
from emostream.service.api.app import build_api
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.telemetry.gpu import gpu_loads
from tests.conftest import REPOSITORY
from tests.media import make_clip, textured_picture, wait_until
from tests.ports import unused_port
from tests.service.conftest import SETTINGS
from tests.service.measured_worker import measured_worker
from tests.service.streams import ScriptedParts, live_record

DASHBOARDS = sorted((REPOSITORY / "deploy" / "grafana").glob("*.json"))
NEEDS_GPU = {"GPU memory", "GPU use"}
"""Panels that have no data on a machine without a GPU, and nothing else to be measured by."""

_TIMEOUT_SECONDS = 150.0
_VARIABLES = {
    "$__rate_interval": "20s",
    "$cluster": ".*",
    "$namespace": ".*",
    "$job": ".*",
    "$worker": ".*",
    "$stream_id": "door",
}


@dataclass(frozen=True)
class Query:
    """What one panel asks."""

    dashboard: str
    panel: str
    text: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.text}"


def content_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


QUERIES = [
    Query(path.stem, panel["title"], target["expr"])
    for path in DASHBOARDS
    for panel in content_of(path)["panels"]
    for target in panel.get("targets", [])
]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_complete(path: Path) -> None:
    board = content_of(path)
    assert board["uid"] == path.stem
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    names = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    assert {"cluster", "namespace", "job", "worker"} < names
    assert [panel for panel in board["panels"] if panel["type"] == "row"], "panels are in rows"
    (alerts,) = board["annotations"]["list"]
    assert "ALERTS{" in alerts["expr"] and set(re.findall(r"\$(\w+)", alerts["expr"])) <= names
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        used = set(re.findall(r"\$(\w+)", "".join(target["expr"] for target in panel["targets"])))
        assert used <= names, panel["title"]
    places = [
        (column, row)
        for place in (panel["gridPos"] for panel in board["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(places)) == len(places), "panels overlap"
    assert max(column for column, _ in places) < 24


def test_every_dashboard_is_there() -> None:
    assert {path.stem.removeprefix("emostream-") for path in DASHBOARDS} == {
        "overview",
        "stream",
        "inference",
        "delivery",
    }


@contextlib.contextmanager
def running_prometheus(program: str, *, target: str, folder: Path) -> Iterator[str]:
    """Prometheus with the shipped configuration, but for target and pace; its address."""
    config = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "emostream"]
    job["static_configs"] = [{"targets": [target]}]
    config |= {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [job],
        "rule_files": [str(REPOSITORY / "deploy/prometheus/alerts.yaml")],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{unused_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://{address}"
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def live_service(redis: EmbeddedRedis, folder: Path) -> AsyncIterator[str]:
    """The interface over HTTP, and a worker with two streams of a real clip; host and port."""
    clip = make_clip(
        folder / "clip.mp4",
        num_frames=100,
        width=160,
        height=120,
        picture=lambda index: textured_picture(index, width=160, height=120),
    )

    def source_of(spec: StreamSpec) -> LiveSource:
        played = StreamSpec(spec.stream_id, str(clip), StreamKind.FILE)
        return LiveSource(
            lambda: PacedSource(
                played, settings=DecodeSettings(), fps=5, num_frames=1_000_000, starts_at=time.monotonic()
            ),
            backoff=Backoff(random.Random(0)),
            open_stall_seconds=10,
            read_stall_seconds=10,
        )

    settings = SETTINGS.model_copy(update={"group_check_seconds": 0.5, "spool_dir": folder / "spool"})
    sink = open_redis_sink(settings, redis_url=redis.url, kind_of=lambda _: StreamKind.LIVE)
    port = unused_port()
    app = build_api(load_settings(), redis_url=redis.url)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none"))
    async with (
        RegistryStore(SETTINGS, redis_url=redis.url) as store,
        measured_worker(store, sink=sink, parts=ScriptedParts(source_of)),
    ):
        for stream_id in ("door", "gate"):
            await StreamRegistry(store).create(live_record(stream_id))
            await store.redis.xgroup_create(f"emostream:events:{stream_id}", "alarms", id="0", mkstream=True)
        serving = asyncio.create_task(server._serve())  # `serve` would take over the signals of the test
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await serving
    await sink.close()


def unanswered(address: str, queries: list[Query]) -> list[Query]:
    """The queries that return no data, or nothing but NaN."""
    return [query for query in queries if not has_data(address, query.text)]


def has_data(address: str, text: str) -> bool:
    for name, value in _VARIABLES.items():
        text = text.replace(name, value)
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            result = json.load(response)["data"]["result"]
    except OSError:
        return False
    return any(series["value"][1] != "NaN" for series in result)


def firing(address: str) -> set[str]:
    with urllib.request.urlopen(f"{address}/api/v1/alerts", timeout=10) as response:
        alerts = json.load(response)["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@pytest.mark.integration
@pytest.mark.slow
async def test_every_panel_has_data(tmp_path: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs Prometheus (tests/install-debian-packages.sh)")
    queries = [query for query in QUERIES if query.panel not in NEEDS_GPU or gpu_loads()]
    with EmbeddedRedis() as redis:
        async with live_service(redis, tmp_path) as target:
            with running_prometheus(program, target=target, folder=tmp_path) as address:
                await asyncio.to_thread(
                    wait_until, lambda: not unanswered(address, queries), timeout_seconds=_TIMEOUT_SECONDS
                )
                missing = await asyncio.to_thread(unanswered, address, queries)
                assert not missing, "\n".join(map(str, missing))
                assert not await asyncio.to_thread(firing, address)
