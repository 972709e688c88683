"""How the command line ends: exit codes, one message, no traceback."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from emostream.cli.app import COMMANDS, app
from emostream.errors import ConfigError
from tests.cli.run import run


def _failing(error: BaseException) -> typer.Typer:
    command = typer.Typer(pretty_exceptions_enable=False)

    @command.command()
    def fail() -> None:
        raise error

    return command


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "--version") == 0
    assert capsys.readouterr().out == f"emostream {version('emostream')}\n"


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "analyse") == 2
    assert "No such command" in capsys.readouterr().err


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "--help") == 0
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in said] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_the_first_line_of_each_command(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert command.help.splitlines()[0] == COMMANDS[name].summary


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below a group, with its words."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_each_command_has_an_example_that_it_takes() -> None:
    for words, command in _commands(typer.main.get_command(app)):
        assert command.epilog.startswith("Example: "), words
        example = command.epilog.removeprefix("Example: ").partition(" > ")[0]
        if (found := re.search(r"\$\((.*)\)", example)) is not None:
            example = found[1]
        program, *arguments = shlex.split(example)
        assert (program, tuple(arguments[: len(words)])) == ("emostream", words)
        command.make_context(words[-1], arguments[len(words) :])  # raises what is wrong with the options


def test_values_of_options_have_names_that_people_know() -> None:
    """Not the names of Python's types."""
    for words, command in _commands(typer.main.get_command(app)):
        for param in (param for param in command.params if not param.hidden):
            shown = param.metavar or param.display_type(command.context_class(command))
            assert param.metavar is not None or "|" in shown, (words, param.name, shown)


def test_output_is_a_file_in_every_command() -> None:
    for words, command in _commands(typer.main.get_command(app)):
        for param in command.params:
            if param.name in ("output", "folder") and not param.hidden:
                assert param.metavar == {"output": "FILE", "folder": "FOLDER"}[param.name], words
            assert param.name != "out" or param.hidden, words


@pytest.mark.parametrize(
    ("words", "arguments", "name"),
    [
        (["explain"], ["photo.jpg", "--out", "x"], "out"),
        (["demo"], ["--output", "x"], "output"),
        (["bench", "all"], ["--out", "x"], "out"),
    ],
    ids=["explain", "demo", "bench all"],
)
def test_old_names_of_options_are_taken(words: list[str], arguments: list[str], name: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.get_command(None, word)
    assert command.make_context(words[-1], arguments).params[name] == Path("x")


def _completed(*words: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_EMOSTREAM_COMPLETE", "complete_bash")
        patch.setenv("COMP_WORDS", " ".join(["emostream", *words]))
        patch.setenv("COMP_CWORD", str(len(words)))
        assert run(app) == 0
    return capsys.readouterr().out.split()


def test_the_shell_completes_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert _completed("ana", capsys=capsys) == ["analyze"]
    assert _completed("streams", "re", capsys=capsys) == ["remove", "resume", "retry"]
    assert _completed("analyze", "--out", capsys=capsys) == ["--output"]


def test_completion_can_be_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "--help") == 0
    assert "--install-completion" in capsys.readouterr().out


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
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(_failing(error)) == code
    said = capsys.readouterr().err
    assert message in said
    assert "hunter2" not in said
    assert "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    command = typer.Typer(pretty_exceptions_enable=False)

    @command.command()
    def write() -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    assert run(command) == 1
    assert "no space left on" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["analyze", "clip.mp4"], ["serve"]], ids=lambda command: command[0])
@pytest.mark.parametrize(
    "url", ["nowhere:x", "kafka://user:zebra@host/topic?unknown=zebra", "webhook+https://user:zebra@", "jsonl:"]
)
def test_an_unusable_sink_is_an_error_at_once(
    command: list[str], url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOSTREAM_PUBLISH__SINKS", json.dumps([url]))
    assert run(app, *command) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert "zebra" not in said


def test_files_of_a_service_need_the_name_of_their_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOSTREAM_PUBLISH__SINKS", '["jsonl:/data/events.jsonl"]')
    assert run(app, "serve") == 2
    assert "jsonl:/data/events-{worker}.jsonl" in capsys.readouterr().err
