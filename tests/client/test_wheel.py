"""The distribution `emostream-client`: alone in an environment, and beside the whole package."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import emostream
from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from tests.absent_modules import site_customize
from tests.conftest import REPOSITORY
from tests.publish.samples import events_of

pytestmark = pytest.mark.integration

PROJECT = REPOSITORY / "deploy" / "client"
HEAVY = {"numpy", "cv2", "av", "onnxruntime", "rich", "typer"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(PROJECT)], check=True, capture_output=True)
    (path,) = folder.glob("emostream_client-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is installed in; nothing but what it depends on can be imported beside it."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    needed = dependencies(project()["dependencies"])
    others = {
        package
        for package, distributions in packages_distributions().items()
        if not needed & set(map(canonicalize_name, distributions)) and package != "emostream"
    }
    assert others >= HEAVY
    (folder / "sitecustomize.py").write_text(site_customize(others), encoding="utf-8")
    return folder


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def dependencies(requirements: list[str]) -> set[str]:
    """Names of the distributions that these bring, themselves included."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        found.add(canonicalize_name(requirement.name))
        for line in requires(requirement.name) or []:
            needed = Requirement(line)
            extras = ["", *requirement.extras]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting += [] if canonicalize_name(needed.name) in found else [needed]
    return found


def run(installed: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=environment, cwd=installed.parent, capture_output=True, text=True, timeout=60, check=False
    )


async def test_alone_it_reads_events(installed: Path, redis_server: EmbeddedRedis, stream_id: str) -> None:
    events = events_of(stream_id, range(5))
    async with RedisSink(PublishSettings(), redis_url=redis_server.url) as sink:
        await sink.publish(events)
    code = f"""
import json, sys
import emostream.client
from emostream.client import *
url, stream_id = sys.argv[1:]
events = list(EmotionEvents(url, streams=stream_id, follow=False))
print(json.dumps({{
    "events": [event.to_json() for event in events],
    "heavy": [name for name in {sorted(HEAVY)!r} if name in sys.modules],
    "file": emostream.client.__file__,
}}))
"""
    done = run(installed, code, redis_server.url, stream_id)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["events"] == [event.to_json() for event in events]
    assert said["heavy"] == []
    assert Path(said["file"]).is_relative_to(installed)


def test_it_says_what_to_install_for_the_rest(installed: Path) -> None:
    code = """
import sys, emostream
for name in sys.argv[1:]:
    try:
        getattr(emostream, name)
    except ImportError as exc:
        assert "pip install emostream" in str(exc), exc
        print(name)
"""
    done = run(installed, code, *emostream.__all__)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "Analysis",
        "Analyzer",
        "Frame",
        "PictureFaces",
        "Session",
        "analyze",
        "analyze_async",
        "classify",
    ]
    command = run(installed, "import runpy; runpy.run_module('emostream', run_name='__main__')")
    assert command.returncode == 1 and "pip install emostream" in command.stderr


def test_it_holds_all_that_its_modules_import(wheel: Path) -> None:
    """Also what they import when a function is called, or for types only."""
    with zipfile.ZipFile(wheel) as archive:
        sources = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("emostream-stubs", "emostream").replace("/", ".")
        for name in sources
    }
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emostream."):
                assert node.module in modules, name


def test_beside_the_whole_package_that_one_is_used(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
        assert not [name for name in archive.namelist() if name.startswith("emostream/")], "files of the other one"
    (tmp_path / "emostream").symlink_to(REPOSITORY / "emostream")
    done = run(
        tmp_path, "import emostream, emostream.client.events as events; print(emostream.__file__, events.__file__)"
    )
    assert done.stdout.split() == [
        str(tmp_path / "emostream" / "__init__.py"),
        str(tmp_path / "emostream" / "client" / "events.py"),
    ], done.stderr


def test_version_and_dependencies_are_those_of_the_repository(wheel: Path) -> None:
    whole = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wheel.name.split("-")[1] == whole["version"]
    assert set(project()["dependencies"]) <= set(whole["dependencies"])
    assert project()["optional-dependencies"]["export"] == whole["optional-dependencies"]["export"]
    assert project()["requires-python"] == whole["requires-python"]
