"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emostream.config import Settings, load_settings
from emostream.telemetry.logs import configure_logging

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file (YAML).", metavar="FILE", dir_okay=False)
]
RedisOption = Annotated[
    str | None, typer.Option("--redis", help="Redis URL, for example redis://localhost:6379/0.", metavar="URL")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

# What people read, and what they read beside JSON on standard output: progress, notes. Without emoji, because addresses
# may hold what Rich takes for the name of one (`fd00:a:b::1`).
screen = Console(highlight=False, emoji=False)
notes = Console(stderr=True, highlight=False, emoji=False)


def tell(line: str) -> None:
    """A line on standard error, as it is."""
    notes.print(line, markup=False, soft_wrap=True)


def settings_for_command(config: Path | None, *, redis: str | None = None, **arguments: Any) -> Settings:
    """The effective settings of a command, with logging set up accordingly."""
    if redis is not None:
        arguments["publish"] = {**arguments.get("publish", {}), "redis_url": redis}
    settings = load_settings(config_file=config, **arguments)
    configure_logging(settings.log_level, log_format=settings.log_format)
    return settings
