"""Nothing reports home: no look-up, and no file that emostream did not mean to write.

The commands run with an empty home in a network of their own, whose name server writes down who is looked for. ONNX
Runtime looks for its makers some seconds after its import, so they are kept alive a while.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emostream import TELEMETRY_SWITCHES
from emostream.config import ModelSettings
from tests.conftest import REPOSITORY
from tests.isolated_network import Isolated, can_isolate, run_isolated
from tests.media import make_clip
from tests.vision.detect.real_model import centerface_path

LINGER_SECONDS = 12  # ONNX Runtime 1.32 asked for its host within eight
LINGERING = f"import atexit, time; atexit.register(time.sleep, {LINGER_SECONDS})\n"
COMMAND = LINGERING + "import sys; from emostream.cli.app import main; sys.argv[0] = 'emostream'; main()"
TRAINING = LINGERING + "import runpy; runpy.run_module('training.evaluate', run_name='__main__', alter_sys=True)"

isolated = pytest.mark.skipif(not can_isolate(), reason="needs Linux with namespaces for users and networks")


def _run(code: str, *arguments: str | Path, home: Path, **variables: str) -> Isolated:
    """Run Python in an empty home. No variable comes along: ONNX Runtime keeps still where it sees a CI service."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
        "TMPDIR": str(home),
        "EMOSTREAM_MODELS__CACHE_DIR": str(ModelSettings().cache_dir),
    }
    return run_isolated(
        [sys.executable, "-c", code, *map(str, arguments)], environment=environment | variables, cwd=home
    )


def _files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


COMMANDS = {
    "version": (COMMAND, ["--version"]),
    "doctor": (COMMAND, ["doctor", "--json"]),
    "analyze": (COMMAND, ["analyze", "{clip}", "--json"]),
    "training": (TRAINING, ["--help"]),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Isolated, list[str]]]:
    """Each command at its end, and the files in its home. Most of their time they linger, so they do that together."""
    centerface_path()
    folder = tmp_path_factory.mktemp("homes")
    clip = make_clip(folder / "clip.mp4", num_frames=5)

    def outcome_of(name: str) -> tuple[Isolated, list[str]]:
        code, arguments = COMMANDS[name]
        home = folder / name
        home.mkdir()
        done = _run(code, *(argument.format(clip=clip) for argument in arguments), home=home)
        return done, _files_in(home)

    with ThreadPoolExecutor() as pool:
        return dict(zip(COMMANDS, pool.map(outcome_of, COMMANDS), strict=True))


@pytest.mark.integration
@isolated
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_resolves_no_name_and_leaves_no_file(
    name: str, outcomes: dict[str, tuple[Isolated, list[str]]]
) -> None:
    done, files = outcomes[name]
    assert done.code == 0, done.output
    assert (done.looked_up, files) == ([], [])


@pytest.mark.integration
@isolated
def test_the_check_sees_what_it_looks_for(tmp_path: Path) -> None:
    """A look-up by the C library, as a library in C++ makes it."""
    done = _run("import socket; socket.gethostbyname_ex('telemetry.example')", home=tmp_path)
    assert done.code == 1
    assert set(done.looked_up) == {"telemetry.example"}


def test_the_tests_are_silent_as_well() -> None:
    assert os.environ.items() >= TELEMETRY_SWITCHES.items()


@pytest.mark.integration
@pytest.mark.parametrize("package", ["emostream", "training", "tests"])
def test_importing_a_package_sets_them_for_it_and_its_children(package: str) -> None:
    others = {name: "1" if value == "0" else "0" for name, value in TELEMETRY_SWITCHES.items()}
    show = f"import os; print(*(os.environ[name] for name in {list(TELEMETRY_SWITCHES)!r}))"
    code = f"import subprocess, sys; import {package}; subprocess.run([sys.executable, '-c', {show!r}], check=True)"
    environment = os.environ | others | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(TELEMETRY_SWITCHES.values())


def test_ray_takes_it_as_switched_off() -> None:
    usage = pytest.importorskip("ray._common.usage.usage_lib")
    assert not usage.usage_stats_enabled()


def test_what_reports_is_imported_inside_of_these_packages_only() -> None:
    """A program of this repository beside them would import it without the switches."""
    users = set()
    visible = [place for place in REPOSITORY.iterdir() if not place.name.startswith(".")]
    for path in (path for place in visible for path in [*place.rglob("*.py"), place] if path.suffix == ".py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"\b(onnxruntime|ray)\b", text) is None:
            continue  # parsing takes far longer than reading
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] in ("onnxruntime", "ray") for name in names):
                users.add(path.relative_to(REPOSITORY).parts[0])
    assert users <= {"emostream", "training", "tests"}
