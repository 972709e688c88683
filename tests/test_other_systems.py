"""Windows and macOS lack modules and functions of Linux: what looks at video runs without them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from emostream.cli.bench.demo_clip import load_portraits, make_demo_clip
from emostream.config import DecodeSettings
from emostream.decode.location import parse_location
from emostream.domain.machine_limits import usable_memory_bytes
from emostream.errors import ConfigError, SourceRejectedError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.telemetry.process import resident_memory_bytes
from tests.absent_modules import site_customize
from tests.conftest import REPOSITORY

MODULES = {"crypt", "fcntl", "grp", "nis", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
# Some of the names; `mypy --platform win32` of `make check` finds the use of any.
_WITHOUT_NAMES = """
import errno, os, socket
del errno.EREMOTEIO, os.memfd_create, socket.TCP_NOTSENT_LOWAT
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a clip, a picture, and what makes the parts of Linux absent."""
    folder = tmp_path_factory.mktemp("other-system")
    make_demo_clip(folder / "clip.mp4", num_frames=3)
    cv2.imwrite(str(folder / "photo.png"), load_portraits()[0][:, :, ::-1])
    (folder / "sitecustomize.py").write_text(site_customize((), built_in=MODULES) + _WITHOUT_NAMES)
    return folder


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "num_lines"),
    [
        (["analyze", "clip.mp4", "--json", "--sink", "jsonl:events.jsonl"], 3),
        (["classify", "photo.png", "--json"], 1),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_main_job_needs_nothing_of_linux(folder: Path, arguments: list[str], num_lines: int) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{REPOSITORY}", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "emostream", *arguments],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == num_lines
    assert all(each["faces"] for each in found)


def test_what_windows_does_not_have_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigError, match="--redis"):
        EmbeddedRedis().start()
    with pytest.raises(SourceRejectedError, match="Linux"):
        parse_location("v4l2:///dev/video0", settings=DecodeSettings())
    assert usable_memory_bytes() > 0
    assert resident_memory_bytes() == 0
