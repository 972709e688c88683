"""The command line as a page, from the Typer application itself."""

from __future__ import annotations

import subprocess
import sys


def commands_text() -> str:
    """Every command with its arguments and options, as Typer describes them."""
    command = [sys.executable, "-m", "typer", "emostream.cli.app", "utils", "docs", "--name", "emostream"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)  # noqa: S603 - our own
    return done.stdout.partition("\n")[2]  # the page has a title of its own
