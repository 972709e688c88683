"""`emostream doctor`: says what works on this machine, and where things are kept."""

from __future__ import annotations

import contextlib
import importlib.util
import json as json_format
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from emostream.cli.bench.machine import describe_machine
from emostream.cli.options import ConfigOption, JsonOption, screen, settings_for_command
from emostream.cli.redis_url_file import redis_url_folder
from emostream.cli.tables import as_markup, fields_table
from emostream.config import Settings
from emostream.domain.redact import redact
from emostream.errors import ConfigError, EmostreamError, EngineUnavailableError
from emostream.publish.redis.embedded import find_server
from emostream.vision.classify.engines import (
    DEFAULT_ENGINE,
    GPU_ENGINES,
    check_available,
    choose_engine,
    fastest_known,
)
from emostream.vision.classify.load import load_classifier
from emostream.vision.engines.fastest import ENGINE_CHOICES_FILE, remembered_choices
from emostream.vision.models.store import ModelStore


def doctor(
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show versions, engines, models and the effective settings.")
    ] = False,
    paths: Annotated[
        bool, typer.Option("--paths", help="Show what is kept on this machine, where, and how to remove it.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say what works on this machine, and what does not and why.

    Exits with 5 when a model cannot be used.
    """
    settings = settings_for_command(config)
    if paths:
        _print_places(places_of(settings), json=json)
        return
    report = diagnose(settings)
    if json:
        typer.echo(json_format.dumps(report, indent=2))
    else:
        _print_verdict(report)
        if verbose:
            screen.print()
            _print_details(report)
        else:
            screen.print("versions, engines, models and settings: emostream doctor -v", style="dim")
    if not report["ready"]:
        raise typer.Exit(5)


def diagnose(settings: Settings) -> dict[str, Any]:
    """The content of the report, as JSON-compatible values."""
    models = _models(settings)
    return {
        "ready": all(model["usable"] for model in models),
        "features": [asdict(feature) for feature in _features(settings)],
        "machine": describe_machine(),
        "engines": _engines(),
        "classifier_engine": _chosen_engine(settings),
        "engine_choices_ms": remembered_choices(settings.models.cache_dir / ENGINE_CHOICES_FILE),
        "models": models,
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
    for name in GPU_ENGINES:
        try:
            engines[name] = f"available ({check_available(name)})"
        except EngineUnavailableError as exc:
            engines[name] = f"not available: {exc}"
    return engines


def _chosen_engine(settings: Settings) -> str:
    wanted = settings.classify.engine
    if wanted != "auto":
        return wanted
    return f"{fastest_known(choose_engine(), settings.classify, cache_dir=settings.models.cache_dir)} (auto)"


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


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that not every installation can do.

    Attributes:
        name: the commands it is about.
        problem: why it does not work here, and what to do; empty where it works.
    """

    name: str
    problem: str = ""


_FEATURES = (
    ("serve", "the service", ("ray", "fastapi", "uvicorn"), "serve"),
    ("export, report", "tables as Parquet and for pandas", ("pyarrow", "pandas"), "export"),
    ("demo, bench", "the generated clip of real faces", ("skimage", "matplotlib"), "demo"),
)


def _features(settings: Settings) -> list[Feature]:
    found = []
    for commands, what, packages, extra in _FEATURES:
        absent = [name for name in packages if not _is_installed(name)]
        problem = f"{', '.join(absent)} not installed: pip install 'emostream[{extra}]'" if absent else ""
        found.append(Feature(f"{commands}: {what}", problem))
    if settings.publish.redis_url is None:
        try:
            find_server()
            problem = ""
        except ConfigError as exc:
            problem = str(exc)
        found.append(Feature("serve, demo without --redis: a Redis-compatible server of their own", problem))
    return found


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def _print_verdict(report: dict[str, Any]) -> None:
    damaged = [model for model in report["models"] if not model["usable"]]
    if damaged:
        screen.print("[bold red]✗ not ready[/]: a model cannot be used")
        for model in damaged:
            screen.print(f"  {as_markup(model['name'])}: {as_markup(model['detail'])}", soft_wrap=True)
    else:
        machine = report["machine"]
        screen.print("[bold green]✓ ready[/]: videos and pictures can be analysed here")
        screen.print(
            as_markup(
                f"  {report['classifier_engine']} on {machine['num_cores']} cores, Python {machine['python']}, "
                f"emostream {version('emostream')}"
            ),
            soft_wrap=True,
        )
    for feature in report["features"]:
        if feature["problem"]:
            screen.print(f"[yellow]–[/] {as_markup(feature['name'])}: {as_markup(feature['problem'])}", soft_wrap=True)
        else:
            screen.print(f"[green]✓[/] {as_markup(feature['name'])}", soft_wrap=True)


def _print_details(report: dict[str, Any]) -> None:
    machine = report["machine"]
    rows = {
        "platform": as_markup(f"{machine['platform']}, Python {machine['python']}"),
        "processor": as_markup(f"{machine['processor']}, {machine['num_cores']} cores"),
        "cpu features": " ".join(machine["cpu_features"]) or "none relevant",
        "versions": ", ".join(f"{name} {number}" for name, number in machine["versions"].items()),
    }
    rows |= {f"engine {name}": as_markup(detail) for name, detail in report["engines"].items()}
    rows["classifier runs on"] = report["classifier_engine"]
    rows["engines measured"] = "\n".join(
        f"{as_markup(key)}: " + ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in measured.items())
        for key, measured in report["engine_choices_ms"].items()
    )
    for model in report["models"]:
        mark = "[green]✓[/]" if model["usable"] else "[red]✗[/]"
        rows[f"model {as_markup(model['name'])}"] = f"{mark} {as_markup(model['detail'])}"
    for section, values in report["settings"].items():
        for name, value in values.items() if isinstance(values, dict) else [(None, values)]:
            rows[f"{section}.{as_markup(name)}" if name else section] = as_markup(str(value))
    screen.print(fields_table(rows))


# --- places -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Something that is kept on this machine.

    Attributes:
        what: is kept there, and who writes it.
        path: of the file or folder.
        size_bytes: of all files in it; None where there is nothing.
        removal: how to remove it.
    """

    what: str
    path: str
    size_bytes: int | None
    removal: str


def places_of(settings: Settings) -> list[Place]:
    """Everything that this installation keeps outside the folders that commands are given."""
    kept = [
        ("models that were pulled, compiled engines, the fastest engine of each model", settings.models.cache_dir),
        ("URL with password of the Redis server of a running `serve`", redis_url_folder()),
        ("logs and sockets of Ray, from `serve`", Path(tempfile.gettempdir()) / "ray"),
        ("completion of the shell, from --install-completion", Path.home() / ".bash_completions" / "emostream.sh"),
    ]
    if settings.publish.spool_dir is not None:
        kept.append(("events that wait for a sink (publish.spool_dir)", settings.publish.spool_dir))
    return [Place(what, str(path), _size_bytes(path), f"rm -r {shlex.quote(str(path))}") for what, path in kept]


def _size_bytes(path: Path) -> int | None:
    if not path.exists():
        return None
    files = [path] if path.is_file() else path.rglob("*")
    total = 0
    for file in files:
        with contextlib.suppress(OSError):  # it went away meanwhile, or belongs to another user
            total += file.stat().st_size if file.is_file() else 0
    return total


def _print_places(places: Sequence[Place], *, json: bool) -> None:
    if json:
        typer.echo(json_format.dumps([asdict(place) for place in places], indent=2))
        return
    for place in places:
        size = "nothing there" if place.size_bytes is None else f"{place.size_bytes / 1e6:.1f} MB"
        screen.print(f"[bold]{as_markup(place.path)}[/]", soft_wrap=True)
        screen.print(f"  {as_markup(place.what)}: {size}", soft_wrap=True)
        if place.size_bytes is not None:
            screen.print(f"  remove: {as_markup(place.removal)}", soft_wrap=True)
    screen.print(
        "Everything else is where a command's options put it (--output, --folder, --data-dir, …). The package and "
        "its own models go with `pip uninstall emostream`.",
        markup=False,
        soft_wrap=True,
    )
