"""Make the shipped model: `python -m training.export --run runs/first --out emostream/models/emotions.onnx`.

Takes the averaged weights of a run, fits one temperature for each head on the run's validation pictures, writes one
ONNX file with its manifest beside it, and proves before writing that the file computes what the trained net computes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from scipy.special import softmax

from emostream.classify.manifest import ModelManifest, save_manifest, sha256_of
from emostream.classify.preprocess import CROP_SIZE_PIXELS, batch_from_pictures
from emostream.emotion import EMOTIONS
from emostream.errors import EmostreamError, SourceRejectedError
from training.calibrate import cross_fitted_probabilities, fit_temperature
from training.checkpoint import Checkpoint, load_checkpoint
from training.config import TrainConfig
from training.data import load_faces
from training.evaluate import Evaluation, evaluate
from training.faces import FaceSet
from training.inference import HeadOutputs, milliseconds_per_crop, open_session, run_session
from training.labels import majority_labels, vote_distributions
from training.loss import one_hot
from training.metrics import expected_calibration_error
from training.model import build_model, num_parameters
from training.onnx_graph import (
    INPUT_NAME,
    OUTPUT_NAMES,
    ServedModel,
    Temperatures,
    onnx_from_model,
    set_metadata,
    store_weights_in_half,
)
from training.parity import Parity, compare, require_parity
from training.quantize import int8_from_onnx
from training.train import predict

Precision = Literal["fp32", "int8"]

MODEL_NAME = "emostream-compact"
MAX_BATCH_SIZE = 256
LICENCE = "Apache-2.0"
_NUM_CALIBRATION_CROPS = 512


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how it was shown to be right.

    Attributes:
        manifest: the manifest beside the file.
        parity: distance from the trained net, on the validation crops.
        temperatures: fitted for each head.
        evaluation: the written file on the validation pictures.
        size_bytes: size of the ONNX file.
    """

    manifest: ModelManifest
    parity: Parity
    temperatures: Temperatures
    evaluation: Evaluation
    size_bytes: int


def export(
    run: Path, out: Path, *, checkpoint_name: str = "last.pt", precision: Precision = "fp32", name: str = MODEL_NAME
) -> ExportReport:
    """Write the model of a run to `out`, with its manifest beside it; both appear complete or not at all.

    Raises:
        ModelUnavailableError: the run has no such checkpoint.
        ManifestError: the checkpoint is damaged, or the written model would differ from the trained one.
        SourceRejectedError: the run's validation data cannot be read.
    """
    checkpoint_path = run / checkpoint_name
    checkpoint = load_checkpoint(checkpoint_path)
    faces = _validation_faces(checkpoint.config)
    crops = batch_from_pictures(faces.pictures)
    model = build_model(checkpoint.config.model)
    model.load_state_dict(checkpoint.ema_weights)
    ferplus_logits, fer2013_logits = (logits.numpy() for logits in predict(model, torch.from_numpy(crops)))
    temperatures, calibration = fit_temperatures(ferplus_logits, fer2013_logits, faces)
    expected = HeadOutputs(
        softmax(ferplus_logits / temperatures.ferplus, axis=1).astype(np.float32),
        softmax(fer2013_logits / temperatures.fer2013, axis=1).astype(np.float32),
    )
    graph = onnx_from_model(ServedModel(model, temperatures), input_size_pixels=CROP_SIZE_PIXELS)
    if precision == "int8":
        graph = int8_from_onnx(graph, _calibration_crops(checkpoint.config))
    else:
        graph = store_weights_in_half(graph)
    checkpoint_sha256 = sha256_of(checkpoint_path)
    version = f"{checkpoint.config.name}-e{checkpoint.epoch}-{checkpoint_sha256[:8]}"
    set_metadata(graph, {"name": name, "version": version, "labels": json.dumps(EMOTIONS), "precision": precision})

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.stem}.partial.onnx")
    try:
        onnx.save(graph, partial)
        outputs = _run(partial, crops)
        parity = compare(expected, outputs)
        require_parity(parity, precision=precision)
        manifest = _manifest(checkpoint, name=name, version=version, precision=precision, num=num_parameters(model))
        manifest = manifest.model_copy(
            update={"file": out.name, "sha256": sha256_of(partial), "checkpoint_sha256": checkpoint_sha256}
        )
        evaluation = evaluate(faces, manifest, outputs)
        figures = {**_figures(checkpoint.config, evaluation), **calibration, **_parity_figures(parity)}
        figures["milliseconds_per_crop_batch8"] = milliseconds_per_crop(partial, size=CROP_SIZE_PIXELS)
        manifest = manifest.model_copy(update={"metrics": figures})
        partial.replace(out)
        save_manifest(manifest, model_path=out)
    finally:
        partial.unlink(missing_ok=True)
    return ExportReport(manifest, parity, temperatures, evaluation, out.stat().st_size)


def _manifest(checkpoint: Checkpoint, *, name: str, version: str, precision: Precision, num: int) -> ModelManifest:
    return ModelManifest(
        name=name,
        version=version,
        file="",
        sha256="0" * 64,  # known once the file is written
        labels=EMOTIONS,
        input_name=INPUT_NAME,
        input_size_pixels=CROP_SIZE_PIXELS,
        outputs=OUTPUT_NAMES,
        max_batch_size=MAX_BATCH_SIZE,
        precision=precision,
        architecture=_architecture(checkpoint.config, num),
        training_data=_training_data(checkpoint),
        licence=LICENCE,
        tools=_tools(),
    )


def fit_temperatures(
    ferplus_logits: npt.NDArray[np.float32], fer2013_logits: npt.NDArray[np.float32], faces: FaceSet
) -> tuple[Temperatures, dict[str, float]]:
    """Temperatures fitted on all these pictures, and calibration errors measured on halves that were not fitted to."""
    fer2013_targets = one_hot(torch.from_numpy(faces.labels), len(EMOTIONS)).numpy()
    fer2013_cross = cross_fitted_probabilities(fer2013_logits, fer2013_targets)
    fer2013_right = (fer2013_cross.argmax(axis=1) == faces.labels).astype(np.float64)
    figures = {"cross_fitted_ece": expected_calibration_error(fer2013_cross, fer2013_right)}
    ferplus = 1.0
    if faces.votes is not None:
        majority = majority_labels(faces.votes)
        known = majority >= 0
        targets = vote_distributions(faces.votes)[known]
        ferplus = fit_temperature(ferplus_logits[known], targets)
        cross = cross_fitted_probabilities(ferplus_logits[known], targets)
        answers = cross.argmax(axis=1)
        figures["cross_fitted_ferplus_ece"] = expected_calibration_error(
            cross, (answers == majority[known]).astype(np.float64)
        )
        figures["cross_fitted_ferplus_vote_ece"] = expected_calibration_error(
            cross, targets[np.arange(len(targets)), answers].astype(np.float64)
        )
    return Temperatures(ferplus=ferplus, fer2013=fit_temperature(fer2013_logits, fer2013_targets)), figures


def _validation_faces(config: TrainConfig) -> FaceSet:
    return load_faces(Path(config.data.validation_path or config.data.path), split=config.data.validation_split)


def _calibration_crops(config: TrainConfig) -> npt.NDArray[np.uint8]:
    faces = load_faces(Path(config.data.path), split=config.data.train_split).without_blank()
    if not len(faces):
        raise SourceRejectedError(f"data {config.data.path} holds no pictures to measure the INT8 ranges on")
    chosen = np.unique(np.linspace(0, len(faces) - 1, _NUM_CALIBRATION_CROPS).astype(np.int64))
    return batch_from_pictures(faces.pictures[chosen])


def _run(model_path: Path, crops: npt.NDArray[np.uint8]) -> HeadOutputs:
    # One thread: the order of additions, and so the last digit, is the same on every machine of this kind.
    session = open_session(model_path, num_threads=1)
    parts = [
        run_session(session, crops[start : start + 64], output_names=OUTPUT_NAMES, input_name=INPUT_NAME)
        for start in range(0, len(crops), 64)
    ]
    return HeadOutputs(
        np.concatenate([part.ferplus for part in parts]), np.concatenate([part.fer2013 for part in parts])
    )


def _architecture(config: TrainConfig, parameters: int) -> str:
    widths, depths = (",".join(map(str, values)) for values in (config.model.widths, config.model.depths))
    return f"{config.model.architecture} widths {widths} depths {depths}, {parameters} parameters"


def _training_data(checkpoint: Checkpoint) -> str:
    data = checkpoint.config.data
    minutes = checkpoint.elapsed_seconds / 60
    fitted_on = data.validation_split or "the validation data"
    return (
        f"{Path(data.path).name} {data.train_split or ''} with FER+ votes where it has them, "
        f"{checkpoint.epoch} epochs, {minutes:.0f} minutes; temperatures fitted on {fitted_on}"
    )


def _tools() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _figures(config: TrainConfig, evaluation: Evaluation) -> dict[str, float]:
    prefix = config.data.validation_split or "validation"
    values = evaluation.as_dict()
    names = (
        "accuracy",
        "ferplus_accuracy",
        "accuracy_without_duplicates",
        "ferplus_accuracy_without_duplicates",
        "balanced_accuracy",
        "ferplus_balanced_accuracy",
        "macro_f1",
        "ferplus_macro_f1",
        "ece",
        "ferplus_ece",
        "ferplus_vote_ece",
        "n",
        "n_ferplus",
    )
    return {f"{prefix}_{name}": round(float(values[name]), 6) for name in names if values[name] is not None}


def _parity_figures(parity: Parity) -> dict[str, float]:
    return {f"parity_{name}": float(value) for name, value in dataclasses.asdict(parity).items()}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description="Make a model file from a run.")
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write; its manifest goes beside it")
    parser.add_argument("--checkpoint", choices=["last", "best"], default="last", help="default: the schedule's end")
    parser.add_argument("--precision", choices=["fp32", "int8"], default="fp32")
    parser.add_argument("--name", default=MODEL_NAME, help="name that every event carries")
    options = parser.parse_args(arguments)
    try:
        report = export(
            options.run,
            options.out,
            checkpoint_name=f"{options.checkpoint}.pt",
            precision=options.precision,
            name=options.name,
        )
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    print(f"{options.out}: {report.size_bytes / 1e6:.1f} MB, {report.manifest.name} {report.manifest.version}")
    print(f"parity with the trained net: {report.parity}")
    print(f"temperatures: {report.temperatures}")
    for name, value in report.manifest.metrics.items():
        print(f"{name:45} {value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
