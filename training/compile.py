"""Compile what was exported: `python -m training.compile --models runs/first/model --out runs/first/engines`.

Each variant that TensorRT takes becomes an engine, which is proved against its reference where a GPU runs it. With
TensorRT-RTX no GPU is needed to compile, so this stage runs everywhere. The service does the same by itself for the
model that it serves (`emostream models compile`); here it shows that a new model can be compiled before it ships.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emostream.config import ClassifySettings
from emostream.domain.model_manifest import load_manifest, manifest_path_for
from emostream.errors import ConfigError, EmostreamError
from emostream.vision.classify.trt_classifier import compile_classifier
from emostream.vision.engines.trt.compile import CompileReport
from emostream.vision.engines.trt.package import TRT_NAMES, TrtName


def compile_models(
    models: Path, out: Path, *, engine: TrtName = "tensorrt_rtx", batches: Sequence[int] | None = None
) -> list[CompileReport]:
    """Compile every variant that TensorRT takes into `out`.

    Args:
        models: a model file, or a folder of them, each with its manifest beside it.
        out: folder; the engines lie in `engines` below it, as in the model store.
        engine: the package that compiles.
        batches: batch sizes; None takes those of the service.

    Raises:
        ConfigError: there is no model that TensorRT takes.
        EngineUnavailableError: the package is not installed, or needs a GPU that is not there.
        ModelError: a model cannot be used, or its engine answers differently.
    """
    paths = [path for path in _model_paths(models) if _is_for_tensorrt(path)]
    if not paths:
        raise ConfigError(
            f"{models} holds no model that TensorRT takes; expected .onnx files with their manifests, FP32, FP16 or "
            "INT8 laid out for TensorRT, as `python -m training.export --all` writes them"
        )
    sizes = {} if batches is None else {"batches": tuple(sorted(batches))}
    reports = []
    for path in paths:
        precision = load_manifest(path).precision
        settings = ClassifySettings.model_validate({"model": path, "precision": precision, **sizes})
        reports.append(compile_classifier(engine, settings, cache_dir=out, progress=print))
    return reports


def _model_paths(models: Path) -> list[Path]:
    if not models.is_dir():
        return [models]
    return sorted(path for path in models.glob("*.onnx") if manifest_path_for(path).is_file())


def _is_for_tensorrt(path: Path) -> bool:
    manifest = load_manifest(path)
    return manifest.precision != "int8" or manifest.layout == "tensorrt"


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.compile", description="Compile exported models for GPUs.")
    parser.add_argument("--models", type=Path, required=True, help="model file, or folder of them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the engines")
    parser.add_argument(
        "--engine", choices=TRT_NAMES, default="tensorrt_rtx", help="tensorrt needs the GPU of its engine"
    )
    parser.add_argument(
        "--batch", type=int, action="append", metavar="SIZE", help="batch size; may be given several times"
    )
    options = parser.parse_args(arguments)
    try:
        reports = compile_models(options.models, options.out, engine=options.engine, batches=options.batch)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    for report in reports:
        proof = report.engine_proof or report.source_proof or "none here: no GPU runs it"
        print(
            f"{report.path}: {report.precision}, {report.size_bytes / 1e6:.1f} MB, for {report.target}, proof: {proof}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
