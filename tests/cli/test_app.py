"""How the command line ends: exit codes, one message, no traceback."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from emostream.cli.app import COMMANDS, app, run_guarded
from emostream.errors import ConfigError


def _ends_with(command: typer.Typer, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["emostream", *arguments])
    return run_guarded(command)


def _failing(error: BaseException) -> typer.Typer:
    command = typer.Typer(pretty_exceptions_enable=False)

    @command.command()
    def fail() -> None:
        raise error

    return command


def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ends_with(app, "--version", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"emostream {version('emostream')}\n"


def test_an_unknown_command_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ends_with(app, "analyse", monkeypatch=monkeypatch) == 2
    assert "No such command" in capsys.readouterr().err


def test_the_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ends_with(app, "--help", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in said] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_the_first_line_of_each_command(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert command.help.splitlines()[0] == COMMANDS[name][1]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("set a: expected b [c]"), 2, "set a: expected b [c]"),
        (ConfigError("redis://user:hunter2@[fd00:a::1] is away"), 2, "redis://***@[fd00:a::1] is away"),
        (KeyboardInterrupt(), 130, ""),
        (ZeroDivisionError("x"), 70, "ZeroDivisionError: x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_error(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _ends_with(_failing(error), monkeypatch=monkeypatch) == code
    said = capsys.readouterr().err
    assert message in said
    assert "hunter2" not in said
    assert "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = typer.Typer(pretty_exceptions_enable=False)

    @command.command()
    def write() -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    assert _ends_with(command, monkeypatch=monkeypatch) == 1
    assert "no space left on" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["analyze", "clip.mp4"], ["serve"]], ids=lambda command: command[0])
@pytest.mark.parametrize(
    "url", ["nowhere:x", "kafka://user:zebra@host/topic?unknown=zebra", "webhook+https://user:zebra@", "jsonl:"]
)
def test_a_sink_that_cannot_be_used_is_told_at_once(
    command: list[str], url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOSTREAM_PUBLISH__SINKS", json.dumps([url]))
    assert _ends_with(app, *command, monkeypatch=monkeypatch) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert "zebra" not in said


def test_files_of_a_service_need_the_name_of_their_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOSTREAM_PUBLISH__SINKS", '["jsonl:/data/events.jsonl"]')
    assert _ends_with(app, "serve", monkeypatch=monkeypatch) == 2
    assert "jsonl:/data/events-{worker}.jsonl" in capsys.readouterr().err
