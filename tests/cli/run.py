"""Runs a command in this process, as the program does."""

from __future__ import annotations

import sys

import pytest
import typer

from emostream.cli.app import run_guarded


def run(command: typer.Typer, *arguments: str) -> int:
    """The exit code; what is said goes to standard output and standard error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["emostream", *arguments])
        return run_guarded(command)
