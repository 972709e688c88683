"""The wheel as a newcomer has it: no repository, no network, an empty home, and only what the core depends on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import pytest

from emostream.cli.bench.demo_clip import load_portraits, make_demo_clip
from tests.absent_modules import site_customize
from tests.conftest import REPOSITORY
from tests.isolated_network import Isolated, can_isolate, run_isolated

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not can_isolate(), reason="needs Linux with namespaces for users and networks"),
]

# Top-level packages of the extras: the machine of the tests has them, that of a newcomer does not.
EXTRAS = {
    "serve": ["ray", "fastapi", "fastapi_offline", "prometheus_client"],
    "demo": ["matplotlib", "skimage"],
    "export": ["pandas", "pyarrow"],
    "kafka": ["aiokafka"],
    "mqtt": ["aiomqtt"],
    "objects": ["fsspec"],
    "tracing": ["opentelemetry"],
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(REPOSITORY)], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is installed in, with what makes the packages of the extras absent."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    names = {name for packages in EXTRAS.values() for name in packages}
    (folder / "sitecustomize.py").write_text(site_customize(names), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside it `photo.png`."""
    folder = tmp_path_factory.mktemp("clip")
    make_demo_clip(folder / "clip.mp4", num_frames=10)
    cv2.imwrite(str(folder / "photo.png"), load_portraits()[0][:, :, ::-1])
    return folder / "clip.mp4"


def run(installed: Path, *arguments: str, cwd: Path) -> Isolated:
    """Run Python with an empty home."""
    home = cwd / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"
    }  # fmt: skip
    return run_isolated([sys.executable, *arguments], environment=environment, cwd=cwd)


def test_it_holds_the_package_its_models_and_their_notice(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"emostream"}
    committed = subprocess.run(
        ["git", "ls-files", "emostream"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if committed.returncode == 0:
        assert names >= set(committed.stdout.split())
    assert any(name.endswith("NOTICE.md") for name in names)


def test_the_first_analysis_needs_no_network_and_no_pip(installed: Path, clip: Path) -> None:
    code = f"import emostream; print(next(iter(emostream.analyze({str(clip)!r}))).frame_index, emostream.__file__)"
    done = run(installed, "-c", code, cwd=clip.parent)
    assert done.code == 0, done.output
    index, file = done.output.split()
    assert index == "0" and Path(file).is_relative_to(installed)
    assert done.looked_up == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["analyze", "clip.mp4", "--json", "--annotate", "out.mp4", "--report", "report.html"],
        ["classify", "photo.png", "--json"],
        ["explain", "photo.png"],
        ["demo", "--source", "clip.mp4"],
        ["models", "list"],
        ["doctor"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_of_the_core(installed: Path, clip: Path, arguments: list[str]) -> None:
    done = run(installed, "-m", "emostream", *arguments, cwd=clip.parent)
    assert done.code == 0, done.output
    assert "make " not in done.output


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["demo"], "demo"),
        (["serve"], "serve"),
        (["bench", "pipeline"], "demo"),
        (["analyze", "clip.mp4", "--metrics-port", "0"], "serve"),
        (["analyze", "clip.mp4", "--sink", "parquet:events.parquet"], "export"),
        (["analyze", "clip.mp4", "--sink", "kafka://host/topic"], "kafka"),
        (["analyze", "clip.mp4", "--sink", "mqtt://host/prefix"], "mqtt"),
        (["analyze", "s3://bucket/clip.mp4"], "objects"),
        (["export", "events.parquet", "--redis", "redis://127.0.0.1:1"], "export"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:30],
)
def test_what_needs_an_extra_names_it(installed: Path, clip: Path, arguments: list[str], extra: str) -> None:
    done = run(installed, "-m", "emostream", *arguments, cwd=clip.parent)
    assert done.code == (3 if extra == "objects" else 2), done.output  # 3: of a source
    assert extra in done.output and "Traceback" not in done.output


def test_the_json_is_the_same_as_from_the_repository(installed: Path, clip: Path) -> None:
    done = run(installed, "-m", "emostream", "analyze", "clip.mp4", "--json", cwd=clip.parent)
    events = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    assert [event["frame_index"] for event in events] == list(range(10))
    assert {face["dominant"] for event in events for face in event["faces"]} == {"happy", "neutral"}
