"""`emostream events`: describes the format of events."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer

from emostream.wire.schema import EventKind, schema_of

events_app = typer.Typer(help="Describe the format of events.", no_args_is_help=True)


@events_app.callback()
def _events() -> None:
    """Describe the format of events."""


@events_app.command(epilog="Example: emostream events schema --kind status > status.schema.json")
def schema(
    *, kind: Annotated[EventKind, typer.Option(help="Kind of event: emotion, status or summary.")] = "emotion"
) -> None:
    """Print the JSON Schema (draft 2020-12) of events."""
    typer.echo(json_format.dumps(schema_of(kind), indent=2))
