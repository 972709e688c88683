"""`emostream models compile`: compiles TensorRT engines into the model store."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from emostream.cli.options import ConfigOption, JsonOption, notes, screen, settings_for_command
from emostream.cli.tables import as_markup
from emostream.config import Settings
from emostream.errors import ConfigError, EngineUnavailableError
from emostream.vision.engines.trt.compile import CompileReport
from emostream.vision.engines.trt.cuda import find_gpu
from emostream.vision.engines.trt.package import TRT_NAMES, TrtName, load_package
from emostream.vision.models.store import ModelStore

_CLASSIFIER, _DETECTOR = "emotions", "centerface"

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"{_CLASSIFIER}, {_DETECTOR}, or an ONNX file with its manifest next to it; both models by default.",
        metavar="NAME|FILE",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(help="tensorrt or tensorrt_rtx; by default tensorrt if it and a GPU are available.", metavar="NAME"),
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="fp32, fp16, or int8 (classifiers only); by default fp16.", metavar="NAME")
]
BatchesOption = Annotated[
    str | None, typer.Option(help="Batch sizes of classifiers; overrides classify.batches.", metavar="1,8,32")
]


def compile_models(
    names: NamesArgument = None,
    *,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    batches: BatchesOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compile TensorRT engines into the model store.

    With a GPU, each engine is compared with its model. `tensorrt_rtx` needs no GPU to compile; `tensorrt` compiles for
    the GPU that it finds. The service compiles missing engines when it starts; this command does so in advance.
    """
    classify: dict[str, Any] = {}
    if precision is not None:
        classify["precision"] = precision
    if batches is not None:
        classify["batches"] = _parse_batches(batches)
    settings = settings_for_command(config, classify=classify)
    everything = [_CLASSIFIER] if precision == "int8" else [_CLASSIFIER, _DETECTOR]
    reports = [_compile(model, _engine_name(engine), settings) for model in names or everything]
    if json:
        typer.echo(json_format.dumps([asdict(report) for report in reports], indent=2, default=str))
    else:
        _print(reports)


def _parse_batches(text: str) -> list[int]:
    try:
        return sorted({int(part) for part in text.split(",")})
    except ValueError as exc:
        raise ConfigError(f"--batches: expected numbers such as 1,8,32, got {text!r}") from exc


def _engine_name(engine: str | None) -> TrtName:
    if engine is None:
        try:
            find_gpu()
            return load_package("tensorrt").name
        except EngineUnavailableError:
            return "tensorrt_rtx"
    for name in TRT_NAMES:
        if name == engine:
            return name
    raise ConfigError(f"--engine: expected {' or '.join(TRT_NAMES)}, got {engine!r}")


def _compile(model: str, engine: TrtName, settings: Settings) -> CompileReport:
    from emostream.vision.classify.trt_classifier import compile_classifier
    from emostream.vision.detect.trt_network import compile_detector

    classify, cache_dir = settings.classify, settings.models.cache_dir
    if model == _DETECTOR:
        if classify.precision == "int8":
            raise ConfigError(f"{_DETECTOR} is compiled as fp32 or fp16; its INT8 variant is for CPUs")
        path = ModelStore(settings.models).path_of(_DETECTOR, progress=_note)
        precision: Literal["fp32", "fp16"] = "fp32" if classify.precision == "fp32" else "fp16"
        return compile_detector(engine, path, precision=precision, cache_dir=cache_dir, progress=_note)
    if model != _CLASSIFIER:
        if not model.endswith(".onnx"):
            raise ConfigError(f"expected {_CLASSIFIER}, {_DETECTOR} or an .onnx file, got {model!r}")
        classify = classify.model_copy(update={"model": Path(model)})
    return compile_classifier(engine, classify, cache_dir=cache_dir, progress=_note)


def _note(what: str) -> None:
    notes.print(what, style="dim", markup=False, soft_wrap=True)


def _print(reports: Sequence[CompileReport]) -> None:
    for report in reports:
        size = f"{report.size_bytes / 1e6:.1f} MB"
        what = f"{report.precision}, {size}, by {report.package} for {report.target}"
        screen.print(f"[bold]{as_markup(report.model)}[/] {as_markup(what)}", soft_wrap=True)
        for title, text in (
            ("shapes", ", ".join(report.profiles)),
            ("verified", _proof_in_words(report)),
            ("file", str(report.path)),
        ):
            screen.print(f"  {title:6}  {as_markup(text)}", soft_wrap=True)


def _proof_in_words(report: CompileReport) -> str:
    if report.engine_proof is not None:
        return f"engine: {_figures(report.engine_proof)}"
    waiting = "engine: not yet, no supported GPU here; verified on first use"
    if report.source_proof is None:
        return waiting
    return f"{report.precision} model: {_figures(report.source_proof)}; {waiting}"


def _figures(proof: Any) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in proof.items())
