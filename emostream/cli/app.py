"""The command line: `emostream COMMAND`. Every error ends here as one message and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.rich_utils import rich_format_error

from emostream.cli.analyze import analyze
from emostream.cli.bench.command import bench_app
from emostream.cli.classify import classify
from emostream.cli.demo import demo
from emostream.cli.doctor import doctor
from emostream.cli.events import events_app
from emostream.cli.explain import explain
from emostream.cli.export import export
from emostream.cli.jobs import jobs_app
from emostream.cli.models import models_app
from emostream.cli.serve import serve
from emostream.cli.streams import streams_app
from emostream.cli.tail import tail
from emostream.domain.redact import MASK, redact
from emostream.errors import EmostreamError

app = typer.Typer(
    name="emostream",
    help="Watch video, follow every face, publish its expression as events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(analyze)
app.command()(classify)
app.command()(explain)
app.command()(demo)
app.command()(serve)
app.add_typer(streams_app, name="streams")
app.add_typer(jobs_app, name="jobs")
app.command()(tail)
app.command()(export)
app.command()(doctor)
app.add_typer(models_app, name="models")
app.add_typer(events_app, name="events")
app.add_typer(bench_app, name="bench")

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
        bool, typer.Option("--version", help="Show the version and end.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Watch video, follow every face, publish its expression as events."""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_guarded(app))


def run_guarded(command: typer.Typer) -> int:
    """Run a command; print what went wrong as one message on standard error; return the exit code."""
    try:
        code = command(standalone_mode=False)  # else Typer itself prints wrong usage, with what was typed
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except typer.Abort:
        return _OTHER
    except Exception as exc:
        # Wrong usage has another type in each version of Typer.
        return _report_usage(exc) if hasattr(exc, "format_message") else _report(exc)
    return code if isinstance(code, int) else 0


def _report_usage(error: Any) -> int:
    """Wrong usage: an address that was typed in the wrong place, or with a blank and without quotes, is masked."""
    error.message = _AFTER_WHICH_A_HOST_FOLLOWS.sub(f"{MASK}@", redact(error.message or ""))
    rich_format_error(error)
    code: int = error.exit_code
    return code


def _report(exc: Exception) -> int:
    if isinstance(exc, BrokenPipeError) or isinstance(exc.__cause__, BrokenPipeError):
        # `emostream tail | head`: the reader has seen enough. Keep Python from flushing into the pipe at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(exc, EmostreamError):
        _print_error(str(exc))
        return exc.exit_code
    if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
        _print_error(
            f"no space left on {exc.filename or 'the device that is written to'}; free some, or write elsewhere"
        )
        return _OTHER
    logging.getLogger(__name__).debug("internal error", exc_info=exc)
    _print_error(
        f"internal error: {type(exc).__name__}: {exc}. This is a defect of emostream; please report it with the output "
        "of EMOSTREAM_LOG_LEVEL=debug"
    )
    return _INTERNAL


def _print_error(message: str) -> None:
    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    console.print("[bold red]error:[/bold red] ", end="")
    console.print(redact(message), markup=False)
