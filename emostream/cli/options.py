"""Options and output streams shared by several commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emostream.config import Settings, load_settings
from emostream.domain.redact import shown_address
from emostream.errors import ConfigError
from emostream.render.overlay_style import OverlayStyle
from emostream.telemetry.logs import configure_logging

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file (YAML).", metavar="FILE", dir_okay=False)
]
RedisOption = Annotated[
    str | None, typer.Option("--redis", help="Redis URL, for example redis://localhost:6379/0.", metavar="URL")
]
PixelAspectOption = Annotated[
    str | None,
    typer.Option(
        help="Width of a pixel over its height (2, 64:45), in place of what the source says.", metavar="RATIO"
    ),
]
OverlayOption = Annotated[
    OverlayStyle | None,
    typer.Option(
        "--overlay",
        help="What --annotate draws: box, label (boxes with names), or bars (and the probabilities of the largest "
        "faces), which is the default.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

# `--output FILE` is the file that a command writes, in the format of its suffix; `--folder FOLDER` is where several go.
# These are the names that some commands had for them before.
OldOutOption = Annotated[Path | None, typer.Option("--out", hidden=True)]
OldOutputOption = Annotated[Path | None, typer.Option("--output", hidden=True)]

READING = "What is read"
WRITING = "What is written"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # `pathlib` has made one slash of two

# `screen` is for results, `notes` for progress and remarks beside JSON on standard output. Without emoji, because an
# address may contain what Rich takes for one (`fd00:a:b::1`).
screen = Console(highlight=False, emoji=False)
notes = Console(stderr=True, highlight=False, emoji=False)


def tell(line: str) -> None:
    """Print a line on standard error, without markup."""
    notes.print(line, markup=False, soft_wrap=True)


def check_quotes(addresses: Sequence[str]) -> None:
    """Refuse an address whose password has blanks, and that the shell has taken apart; its parts are not shown.

    Raises:
        ConfigError: an address ends before its `@`, and a later argument, which is no file, has one.
    """
    is_open = False
    for address in addresses:
        if "://" in address:
            is_open = "@" not in address
        elif is_open and "@" in address and not Path(address).exists():
            raise ConfigError("an address with blanks must be in quotes; here it came as several arguments")


def settings_for_command(config: Path | None, *, redis: str | None = None, **arguments: Any) -> Settings:
    """Load the effective settings of a command and configure logging."""
    if redis is not None:
        arguments["publish"] = {**arguments.get("publish", {}), "redis_url": redis}
    settings = load_settings(config_file=config, **arguments)
    configure_logging(settings.log_level, log_format=settings.log_format, copy_to=settings.log_copy_to)
    return settings


def check_is_path(path: Path | None, *, option: str) -> None:
    """Refuse an address where a file or folder of this machine is written, before its password reaches a message.

    Raises:
        ConfigError: it is an address.
    """
    if path is not None and _ADDRESS.match(str(path)):
        raise ConfigError(f"{option} {shown_address(str(path))}: expected a path on this machine, got an address")
