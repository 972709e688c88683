"""The command line `emostream COMMAND`. Errors become one message and an exit code here."""

from __future__ import annotations

import copy
import errno
import functools
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple, Self

import typer
from typer.core import TyperCommand, TyperGroup

from emostream.domain.redact import MASK, redact
from emostream.errors import EmostreamError

_VIDEO, _SERVICE, _MACHINE = "Videos and pictures", "Service", "This machine"


class Command(NamedTuple):
    """A command as `emostream --help` shows it, which imports none of them.

    Attributes:
        place: module and name of its function, or of its Typer application where it has commands of its own.
        summary: the first line of its help.
        panel: the group it is listed in.
        example: printed at the end of its help; empty where each of its commands has one.
    """

    place: str
    summary: str
    panel: str
    example: str = ""


COMMANDS: Final[Mapping[str, Command]] = MappingProxyType(
    {
        "analyze": Command(
            "emostream.cli.analyze:analyze",
            "Find faces and emotions in a video and publish an event for each frame.",
            _VIDEO,
            "emostream analyze clip.mp4 --annotate marked.mp4 --output events.csv",
        ),
        "classify": Command(
            "emostream.cli.classify:classify",
            "Find the faces of pictures and classify their expressions.",
            _VIDEO,
            "emostream classify photos/ --annotate marked",
        ),
        "explain": Command(
            "emostream.cli.explain:explain",
            "Show which parts of each face in a picture the model's answer comes from.",
            _VIDEO,
            "emostream explain photo.jpg --output explained.png",
        ),
        "demo": Command(
            "emostream.cli.demo:demo",
            "Analyse a demo clip, show its events as they arrive, and write an annotated video.",
            _VIDEO,
            "emostream demo --source my-video.mp4 --folder demo",
        ),
        "serve": Command(
            "emostream.cli.serve:serve",
            "Run the service until Ctrl-C.",
            _SERVICE,
            "emostream serve --allow-network 192.168.1.0/24 --data-dir events",
        ),
        "streams": Command(
            "emostream.cli.streams:streams_app", "Add, list, change and delete streams of a running service.", _SERVICE
        ),
        "jobs": Command("emostream.cli.jobs:jobs_app", "Process folders of files with a running service.", _SERVICE),
        "tail": Command(
            "emostream.cli.tail:tail",
            "Print events of one, several or all streams as they are published.",
            _SERVICE,
            "emostream tail door --changes --service http://localhost:8000",
        ),
        "export": Command(
            "emostream.cli.export:export",
            "Write the events kept in Redis to a CSV, JSON Lines or Parquet file.",
            _SERVICE,
            "emostream export door --output door.csv --redis redis://localhost:6379",
        ),
        "token": Command("emostream.cli.token:token_app", "Make access tokens for the HTTP interface.", _SERVICE),
        "events": Command("emostream.cli.events:events_app", "Describe the format of events.", _SERVICE),
        "doctor": Command(
            "emostream.cli.doctor:doctor",
            "Say what works on this machine, and what does not and why.",
            _MACHINE,
            "emostream doctor -v",
        ),
        "models": Command("emostream.cli.models:models_app", "List, pull, verify and compile models.", _MACHINE),
        "bench": Command("emostream.cli.bench.command:bench_app", "Measure the performance of this machine.", _MACHINE),
    }
)
"""Command → what `emostream --help` says of it, in the order in which it is listed."""


class _Commands(Mapping[str, Any]):
    """Command name → Click command; a command's module is imported on access."""

    def __getitem__(self, name: str) -> Any:
        return _imported(name, COMMANDS[name].place)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@functools.cache
def _imported(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    target = getattr(import_module(module), attribute)
    parent = typer.Typer()
    if isinstance(target, typer.Typer):
        parent.add_typer(target, name=name)
    else:
        parent.command(name, epilog=f"Example: {COMMANDS[name].example}")(target)
    command = typer.main.get_group(parent).commands[name]
    _show_flags_without_type(command)
    return command


def _show_flags_without_type(command: Any) -> None:
    """Have the help of a command, and of those below it, show `--json` and not `--json <bool>`."""
    for param in command.get_params(command.context_class(command)):
        if getattr(param, "is_flag", False):
            param.metavar = ""
    for each in getattr(command, "commands", {}).values():
        _show_flags_without_type(each)


class _LazyGroup(TyperGroup):
    """A command group that imports only the command that is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]  # never modified

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        shown = self._unimported()
        _show_flags_without_type(shown)
        TyperGroup.format_help(shown, ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        return TyperGroup.shell_complete(self._unimported(), ctx, incomplete)

    def _unimported(self) -> Self:
        """This group with the names and summaries of its commands only."""
        shown = copy.copy(self)
        shown.commands = {
            name: TyperCommand(name, help=command.summary, rich_help_panel=command.panel)
            for name, command in COMMANDS.items()
        }
        return shown


app = typer.Typer(
    name="emostream",
    cls=_LazyGroup,
    help="Watch video, follow every face, publish its expression as events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_OTHER = 1
_INTERRUPTED = 130
_INTERNAL = 70
_AFTER_WHICH_A_HOST_FOLLOWS = re.compile(r"(?<=['(]).*@")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"emostream {version('emostream')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    is_version_wanted: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Watch video, follow every face, publish its expression as events."""


def main() -> None:
    """Run the command line and exit with its exit code."""
    sys.exit(run_guarded(app))


def run_guarded(command: typer.Typer) -> int:
    """Run a command, print an error as one message on standard error, and return the exit code."""
    try:
        code = command(
            prog_name="emostream", standalone_mode=False
        )  # else Typer prints usage errors itself, unredacted
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except typer.Abort:
        return _OTHER
    except Exception as exc:
        # Usage errors have another type in each version of Typer.
        return _report_usage(exc) if hasattr(exc, "format_message") else _report(exc)
    return code if isinstance(code, int) else 0


def _report_usage(error: Any) -> int:
    """Report a usage error. Credentials of a URL given in the wrong place, or unquoted with a space, are masked."""
    from typer.rich_utils import rich_format_error

    error.message = _AFTER_WHICH_A_HOST_FOLLOWS.sub(f"{MASK}@", redact(error.message or ""))
    rich_format_error(error)
    code: int = error.exit_code
    return code


def _report(exc: Exception) -> int:
    if isinstance(exc, BrokenPipeError) or isinstance(exc.__cause__, BrokenPipeError):
        # `emostream tail | head`: the reader closed the pipe. Keep Python from flushing into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(exc, EmostreamError):
        _print_error(str(exc))
        return exc.exit_code
    if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
        _print_error(f"no space left on {exc.filename or 'the output device'}; free some space or write elsewhere")
        return _OTHER
    logging.getLogger(__name__).debug("internal error", exc_info=exc)
    _print_error(
        f"internal error: {type(exc).__name__}: {exc}. This is a bug in emostream; please report it with the output of "
        "EMOSTREAM_LOG_LEVEL=debug"
    )
    return _INTERNAL


def _print_error(message: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    console.print("[bold red]error:[/bold red] ", end="")
    console.print(redact(message), markup=False)
