"""`emostream doctor`: shows versions, engines, models and settings of this installation."""

from __future__ import annotations

import json as json_format
from typing import Any

import typer
from rich.table import Table

from emostream.cli.bench.machine import describe_machine
from emostream.cli.options import ConfigOption, JsonOption, screen, settings_for_command
from emostream.cli.tables import as_markup
from emostream.config import Settings
from emostream.domain.redact import redact
from emostream.errors import EmostreamError, EngineUnavailableError
from emostream.vision.classify.engines import DEFAULT_ENGINE, check_available, choose_engine
from emostream.vision.classify.load import load_classifier
from emostream.vision.engines.fastest import ENGINE_CHOICES_FILE, remembered_choices
from emostream.vision.engines.trt.package import TRT_NAMES
from emostream.vision.models.store import ModelStore


def doctor(*, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show versions, CPU features, engines, models and the effective settings.

    Exits with 5 when a model cannot be used.
    """
    settings = settings_for_command(config)
    report = diagnose(settings)
    if json:
        typer.echo(json_format.dumps(report, indent=2))
    else:
        _print(report)
    if not all(model["usable"] for model in report["models"]):
        raise typer.Exit(5)


def diagnose(settings: Settings) -> dict[str, Any]:
    """The content of the report, as JSON-compatible values."""
    return {
        "machine": describe_machine(),
        "engines": _engines(),
        "classifier_engine": _chosen_engine(settings),
        "engine_choices_ms": remembered_choices(settings.models.cache_dir / ENGINE_CHOICES_FILE),
        "models": _models(settings),
        "settings": _redacted(json_format.loads(settings.model_dump_json())),
    }


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _redacted(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_redacted(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


def _engines() -> dict[str, str]:
    import onnxruntime

    providers = ", ".join(
        provider.removesuffix("ExecutionProvider") for provider in onnxruntime.get_available_providers()
    )
    engines = {DEFAULT_ENGINE: f"available ({providers})"}
    for name in TRT_NAMES:
        try:
            engines[name] = f"available ({check_available(name)})"
        except EngineUnavailableError as exc:
            engines[name] = f"not available: {exc}"
    return engines


def _chosen_engine(settings: Settings) -> str:
    wanted = settings.classify.engine
    return f"{choose_engine().name} (auto)" if wanted == "auto" else wanted


def _models(settings: Settings) -> list[dict[str, Any]]:
    models = []
    for entry in ModelStore(settings.models).list():
        models.append({"name": entry.name, "usable": entry.state != "damaged", "detail": entry.state})
    try:
        manifest = load_classifier(settings.classify, cache_dir=settings.models.cache_dir).manifest
        models.append(
            {"name": manifest.name, "usable": True, "detail": f"version {manifest.version}, {manifest.precision}"}
        )
    except EmostreamError as exc:
        models.append({"name": "classifier", "usable": False, "detail": redact(str(exc))})
    return models


def _print(report: dict[str, Any]) -> None:
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column()
    machine = report["machine"]
    table.add_row("platform", f"{machine['platform']}, Python {machine['python']}")
    table.add_row("processor", f"{machine['processor']}, {machine['num_cores']} cores")
    table.add_row("cpu features", " ".join(machine["cpu_features"]) or "none relevant")
    table.add_row("versions", ", ".join(f"{name} {number}" for name, number in machine["versions"].items()))
    for name, detail in report["engines"].items():
        table.add_row(f"engine {name}", as_markup(detail))
    table.add_row("classifier runs on", report["classifier_engine"])
    for key, measured in report["engine_choices_ms"].items():
        table.add_row(key, ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in measured.items()))
    for model in report["models"]:
        mark = "[green]✓[/]" if model["usable"] else "[red]✗[/]"
        table.add_row(f"model {as_markup(model['name'])}", f"{mark} {as_markup(model['detail'])}")
    for section, values in report["settings"].items():
        for name, value in values.items() if isinstance(values, dict) else [(None, values)]:
            table.add_row(f"{section}.{as_markup(name)}" if name else section, as_markup(str(value)))
    screen.print(table)
