"""The command line as a user has it: a child process, its output and its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def run_emostream(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run `emostream ARGUMENTS` to its end. No error, of whatever kind, may show a traceback."""
    process = subprocess.run(
        [sys.executable, "-m", "emostream", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in process.stderr, process.stderr
    return Outcome(process.returncode, process.stdout, process.stderr)
