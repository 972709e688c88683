"""Make the shipped model: `python -m training.export --run runs/first --all --out emostream/models`.

Takes the averaged weights of a run, fits the scaling of each head on the run's validation pictures, and writes
ONNX files with their manifests. Each proves before it is written that it answers what the trained net answers, and is
right as often.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import numpy.typing as npt
import onnx

from emostream.domain.model_manifest import ModelManifest, save_manifest, sha256_of
from emostream.errors import EmostreamError
from emostream.vision.classify.parity import Parity
from training.convert.activation_ranges import RangePolicy
from training.convert.onnx_graph import INPUT_NAME, set_metadata
from training.convert.parity import AccuracyDrop, accuracy_drop, compare_heads, require_same_model
from training.convert.trained_model import ExportOptions, TrainedModel, load_trained
from training.convert.variants import VARIANTS, Variant, write_variant
from training.evaluate import Evaluation, evaluate
from training.measure.inference import HeadOutputs, milliseconds_per_crop, open_session, run_session
from training.measure.scalings import FerplusTarget


class Infer(Protocol):
    """Computes what a model file answers."""

    def __call__(self, model_path: Path, crops: npt.NDArray[np.uint8], *, output_names: tuple[str, ...]) -> HeadOutputs:
        """The outputs of both heads for `crops` (uint8, n×S×S)."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """One file that was written, and how it was shown to be right.

    Attributes:
        path: of the ONNX file; its manifest lies beside it.
        manifest: what stands there.
        parity: distance from the trained net, on the validation crops.
        drop: accuracy lost against the trained net, on the same crops.
        evaluation: the written file on the validation pictures.
    """

    path: Path
    manifest: ModelManifest
    parity: Parity
    drop: AccuracyDrop
    evaluation: Evaluation


def export(
    run: Path,
    out: Path,
    *,
    variants: Sequence[Variant] = (VARIANTS["int8"],),
    options: ExportOptions | None = None,
    infer: Infer | None = None,
) -> list[ExportReport]:
    """Write variants of a run's model into the folder `out`: all of them, or none when one fails its proof.

    Args:
        run: folder of the training run.
        out: folder of the written files.
        variants: which to write.
        options: how.
        infer: computes what a written model answers; by default ONNX Runtime.

    Raises:
        ModelUnavailableError: the run has no such checkpoint.
        ManifestError: the checkpoint is damaged, a head learned from no picture, or a written model would differ from
            the trained one.
        ConfigError: the name or the licence is no text that a manifest can hold.
        SourceRejectedError: the run's data cannot be read.
    """
    chosen = options or ExportOptions()
    trained = load_trained(run, chosen)
    out.mkdir(parents=True, exist_ok=True)
    with _folder_beside(out) as folder:
        reports = [
            _write(trained, variant, folder / variant.file_name(chosen.file_base), chosen, infer=infer or infer_model)
            for variant in variants
        ]
        return [_moved(report, out) for report in reports]


def _write(
    trained: TrainedModel, variant: Variant, path: Path, options: ExportOptions, *, infer: Infer
) -> ExportReport:
    """Write one variant with its manifest and prove it."""
    if variant.layout == "cpu":
        variant = dataclasses.replace(variant, layout=options.cpu_layout)
    manifest = trained.manifest.model_copy(
        update={"file": path.name, "precision": variant.precision, "layout": variant.layout}
    )
    written = write_variant(trained.graph, variant, trained.range_crops, policy=options.policy)
    properties = {"name": manifest.name, "version": manifest.version, "precision": variant.precision}
    set_metadata(written.graph, {**properties, "labels": json.dumps(manifest.labels)})
    onnx.save(written.graph, path)
    outputs = infer(path, trained.crops, output_names=manifest.outputs)
    parity = compare_heads(trained.expected, outputs)
    evaluation = evaluate(trained.faces, manifest, outputs)
    drop = accuracy_drop(evaluate(trained.faces, manifest, trained.expected), evaluation)
    what = f"the {variant.name} model"
    require_same_model(parity, drop, precision=variant.precision, what=what, num_ferplus=evaluation.num_ferplus)
    figures = {
        **evaluation_figures(trained.checkpoint.config.data.validation_split or "validation", evaluation),
        **trained.scalings.figures,
        **_prefixed("parity", parity),
        **_drop_figures(drop, manifest),
        **written.figures,
        "milliseconds_per_crop_batch8": milliseconds_per_crop(path, size=manifest.input_size_pixels),
    }
    manifest = manifest.model_copy(update={"sha256": sha256_of(path), "metrics": figures})
    save_manifest(manifest, model_path=path)
    return ExportReport(path, manifest, parity, drop, evaluation)


@contextlib.contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A folder on the same disk, so that what is finished there can be moved in one step; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=out))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _moved(report: ExportReport, out: Path) -> ExportReport:
    target = out / report.path.name
    manifest_path = report.path.with_suffix(".json")
    report.path.replace(target)
    manifest_path.replace(out / manifest_path.name)
    return dataclasses.replace(report, path=target)


def infer_model(model_path: Path, crops: npt.NDArray[np.uint8], *, output_names: tuple[str, ...]) -> HeadOutputs:
    """An `Infer` with ONNX Runtime on the CPU."""
    # One thread: the order of additions, and so the last digit, is the same on every machine of this kind.
    session = open_session(model_path, num_threads=1)
    parts = [
        run_session(session, crops[start : start + 64], output_names=output_names, input_name=INPUT_NAME)
        for start in range(0, len(crops), 64)
    ]
    return HeadOutputs(
        np.concatenate([part.ferplus for part in parts]), np.concatenate([part.fer2013 for part in parts])
    )


def evaluation_figures(prefix: str, evaluation: Evaluation) -> dict[str, float]:
    """The main figures as a manifest has them: prefix, name → value."""
    values = evaluation.as_dict()
    names = (
        "accuracy",
        "ferplus_accuracy",
        "accuracy_without_duplicates",
        "ferplus_accuracy_without_duplicates",
        "accuracy_without_near_duplicates",
        "ferplus_accuracy_without_near_duplicates",
        "ferplus_majority_mode_accuracy",
        "vote_cross_entropy",
        "balanced_accuracy",
        "ferplus_balanced_accuracy",
        "macro_f1",
        "ferplus_macro_f1",
        "ece",
        "ferplus_ece",
        "ferplus_vote_ece",
        "n",
        *(["n_ferplus"] if evaluation.num_ferplus else []),
    )
    return {f"{prefix}_{name}": round(float(values[name]), 6) for name in names if values[name] is not None}


def _prefixed(prefix: str, figures: Parity | AccuracyDrop) -> dict[str, float]:
    return {f"{prefix}_{name}": float(value) for name, value in dataclasses.asdict(figures).items()}


def _drop_figures(drop: AccuracyDrop, manifest: ModelManifest) -> dict[str, float]:
    """Of both heads, or of the only one."""
    return _prefixed("accuracy_drop", drop) if len(manifest.outputs) > 1 else {"accuracy_drop": drop.fer2013}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    out: Path = parsed.out
    options = ExportOptions(
        checkpoint_name=f"{parsed.checkpoint}.pt",
        name=parsed.name,
        licence=parsed.licence,
        file_base="emotions" if parsed.all else out.stem,
        ferplus_target=parsed.calibrate_ferplus,
        policy=parsed.int8_ranges,
        cpu_layout=parsed.int8_layout,
    )
    try:
        if parsed.all:
            reports = export(parsed.run, out, variants=tuple(VARIANTS.values()), options=options)
        else:
            variant = dataclasses.replace(VARIANTS[parsed.variant], suffix="")  # the file is called as the user says
            reports = export(parsed.run, out.parent, variants=(variant,), options=options)
    except EmostreamError as exc:
        print(f"error: {exc}; nothing was written", file=sys.stderr)
        return exc.exit_code
    for report in reports:
        _print(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.export", description="Export a run as ONNX model files.")
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument(
        "--out", type=Path, required=True, help="ONNX file to write, or with --all the folder; manifests go beside"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--variant",
        "--form",
        "--precision",
        dest="variant",
        choices=list(VARIANTS),
        default="fp32",
        help="precision and layout to write (default: fp32); --form and --precision are older names of this option",
    )
    which.add_argument("--all", action="store_true", help="every variant, with names that the service knows")
    parser.add_argument("--checkpoint", choices=["last", "best"], default="last", help="default: last")
    parser.add_argument("--name", help="model name in events; default: the name of the run")
    parser.add_argument("--licence", help="of the weights, for example Apache-2.0; default: the manifest names none")
    parser.add_argument(
        "--calibrate-ferplus",
        choices=get_args(FerplusTarget),
        default="votes",
        help="target of the calibration of the FER+ head",
    )
    parser.add_argument(
        "--int8-ranges", choices=get_args(RangePolicy), default="mean", help="how activation ranges are chosen"
    )
    parser.add_argument(
        "--int8-layout", choices=["cpu", "vnni"], default="cpu", help="vnni: eight bits of weights, for newer CPUs only"
    )
    return parser


def _print(report: ExportReport) -> None:
    manifest = report.manifest
    licence = manifest.licence or "no licence given (--licence)"
    size = report.path.stat().st_size / 1e6
    print(f"{report.path}: {manifest.precision}, {size:.1f} MB, {manifest.name} {manifest.version}, {licence}")
    print(f"  classes: {', '.join(manifest.labels)}")
    print(f"  against the trained net: {report.parity}, {report.drop}")
    for name, value in manifest.metrics.items():
        print(f"  {name:45} {value:.4f}")


if __name__ == "__main__":
    sys.exit(main())
