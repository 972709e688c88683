"""Sinks by URL, the contract, and a plugin that is installed and used."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent
from emostream.errors import ConfigError
from emostream.publish.registry import open_sink
from emostream.testing.fakes import CollectingSink
from emostream.testing.sink_contract import check_sink, contract_events
from emostream.wire.events import event_from_json
from tests.conftest import REPOSITORY

SETTINGS = PublishSettings()
PLUGIN = REPOSITORY / "tests" / "plugins"


async def test_parquet_has_a_row_per_face_or_empty_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    sink = open_sink(f"parquet:{path}", settings=SETTINGS)
    events = contract_events("door", num_events=9000)
    for start in range(0, len(events), 100):
        await sink.publish(events[start : start + 100])
    await sink.close()
    assert pq.read_table(path)["frame_index"].to_pylist() == list(range(9000))


async def test_parquet_takes_several_streams_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    sink = open_sink(f"parquet:{path}", settings=SETTINGS)

    async def publish(name: str) -> None:
        events = contract_events(name, num_events=6000)
        for start in range(0, len(events), 500):
            await sink.publish(events[start : start + 500])

    await asyncio.gather(*map(publish, ("door", "hall", "yard")))
    await sink.close()
    table = pq.read_table(path, columns=["stream_id", "frame_index"]).to_pylist()
    for name in ("door", "hall", "yard"):
        assert [row["frame_index"] for row in table if row["stream_id"] == name] == list(range(6000))


@pytest.mark.parametrize("fault", ["lost", "doubled", "swapped", "changed"])
async def test_the_contract_notices(fault: str) -> None:
    sink = CollectingSink()

    async def read_back() -> list[EmotionEvent]:
        events = list(sink.events)
        match fault:
            case "lost":
                del events[7]
            case "doubled":
                events.insert(7, events[7])
            case "swapped":
                events[7], events[8] = events[8], events[7]
            case "changed":
                events[7] = contract_events("other")[7]
        return events

    with pytest.raises(AssertionError):
        await check_sink(sink, read_back)


@pytest.mark.parametrize(
    "url",
    [
        "nowhere:x",
        "",
        "webhook+https://",
        "webhook+https://host/x?emostream_secret=",
        "webhook+https://[host/x",
        "redis://host:port",
        "jsonl:/no/such/folder/x",
    ],
)
def test_a_url_that_names_no_sink_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_sink(url, settings=SETTINGS)


def test_the_example_in_the_documentation_is_the_tested_one() -> None:
    source = (PLUGIN / "emostream_count_sink" / "__init__.py").read_text(encoding="utf-8")
    example = source[source.index("class CountSink") :].strip()
    assert example in (REPOSITORY / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.integration
def test_a_plugin_is_installed_and_used(tmp_path: Path) -> None:
    # Not imported: in this process setuptools would replace a distutils that is in use.
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools, which builds the plugin")
    package = tmp_path / "package"
    package.mkdir()
    for path in (PLUGIN / "pyproject.toml", PLUGIN / "emostream_count_sink" / "__init__.py"):
        target = package / path.relative_to(PLUGIN)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, str(package)], check=True, capture_output=True)
    make_demo_clip(tmp_path / "clip.mp4", num_frames=10)
    outcome = subprocess.run(
        [sys.executable, "-m", "emostream", "analyze", "clip.mp4", "--json", "--sink", "count:counts.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    faces = [face for line in outcome.stdout.splitlines() for face in event_from_json(line).faces]
    assert sum(json.loads((tmp_path / "counts.json").read_text()).values()) == len(faces) > 0
