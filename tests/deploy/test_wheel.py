"""The wheel holds what the package reads: templates, styles, the console, models, schemas."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.integration


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(REPOSITORY)], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"a wheel cannot be built here: {built.stderr.strip().splitlines()[-1]}")
    with zipfile.ZipFile(next(tmp_path.glob("emostream-*.whl"))) as archive:
        names = set(archive.namelist())
    files = [
        path for path in (REPOSITORY / "emostream").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    expected = {path.relative_to(REPOSITORY).as_posix() for path in files}
    assert "emostream/render/templates/page.html" in expected
    assert expected <= names
