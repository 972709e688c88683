"""A trained net read back from its run folder, with all that an export says about it."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import nn

from emostream.classify.manifest import ModelManifest, sha256_of
from emostream.classify.preprocess import batch_from_pictures
from emostream.emotion import EMOTIONS
from emostream.errors import SourceRejectedError
from training.activation_ranges import RangePolicy
from training.checkpoint import Checkpoint, load_checkpoint
from training.data import load_splits
from training.faces import FaceSet
from training.inference import HeadOutputs
from training.model import build_model, describe_model, num_multiply_adds, num_parameters
from training.onnx_graph import INPUT_NAME, OUTPUT_NAMES, HeadScalings, ServedModel, onnx_from_model
from training.scalings import FerplusTarget, FittedScalings, fit_scalings, probabilities_at
from training.validation import predict

MODEL_NAME = "emostream-compact"
MAX_BATCH_SIZE = 256
LICENCE = "Apache-2.0"
_NUM_RANGE_CROPS = 512


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a run is written down.

    Attributes:
        checkpoint_name: file in the run folder.
        name: of the model, carried by every event.
        file_base: name of the default form's file, without its ending.
        ferplus_target: what the FER+ head is fitted to.
        policy: how INT8 ranges follow from what was measured.
        cpu_layout: of the INT8 form for ONNX Runtime.
    """

    checkpoint_name: str = "last.pt"
    name: str = MODEL_NAME
    file_base: str = "emotions"
    ferplus_target: FerplusTarget = "votes"
    policy: RangePolicy = "mean"
    cpu_layout: Literal["cpu", "vnni"] = "cpu"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A run, ready to be written: the net as a graph, and what it answers on the validation crops."""

    checkpoint: Checkpoint
    checkpoint_sha256: str
    graph: onnx.ModelProto
    range_crops: npt.NDArray[np.uint8]
    faces: FaceSet
    crops: npt.NDArray[np.uint8]
    expected: HeadOutputs
    scalings: FittedScalings
    manifest: ModelManifest
    """All but what differs between the forms."""


def load_trained(run: Path, options: ExportOptions) -> TrainedModel:
    """Read a run, fit its scalings and let it answer the validation crops.

    Raises:
        ModelUnavailableError: the run has no such checkpoint.
        ManifestError: the checkpoint is damaged.
        SourceRejectedError: the run's data cannot be read.
    """
    checkpoint_path = run / options.checkpoint_name
    checkpoint = load_checkpoint(checkpoint_path)
    checkpoint_sha256 = sha256_of(checkpoint_path)
    training, faces = load_splits(checkpoint.config.data)
    size = checkpoint.config.data.crop_pixels
    crops = batch_from_pictures(faces.pictures, size=size)
    model = build_model(checkpoint.config.model)
    model.load_state_dict(checkpoint.ema_weights)
    logits = HeadOutputs(*(of_head.numpy() for of_head in predict(model, torch.from_numpy(crops))))
    scalings = fit_scalings(logits, faces, ferplus_target=options.ferplus_target)
    return TrainedModel(
        checkpoint=checkpoint,
        checkpoint_sha256=checkpoint_sha256,
        graph=onnx_from_model(ServedModel(model, scalings.chosen), input_size_pixels=size),
        range_crops=_spread_crops(training, source=checkpoint.config.data.path, size=size),
        faces=faces,
        crops=crops,
        expected=probabilities_at(logits, scalings.chosen),
        scalings=scalings,
        manifest=_manifest(checkpoint, model, sha256=checkpoint_sha256, scalings=scalings.chosen, options=options),
    )


def _manifest(
    checkpoint: Checkpoint, model: nn.Module, *, sha256: str, scalings: HeadScalings, options: ExportOptions
) -> ModelManifest:
    return ModelManifest(
        name=options.name,
        version=f"{checkpoint.config.name}-e{checkpoint.epoch}-{_digest(sha256, scalings)}",
        file="",
        sha256="0" * 64,  # known once the file is written
        labels=EMOTIONS,
        input_name=INPUT_NAME,
        input_size_pixels=checkpoint.config.data.crop_pixels,
        outputs=OUTPUT_NAMES,
        max_batch_size=MAX_BATCH_SIZE,
        architecture=(
            f"{describe_model(checkpoint.config.model)}, {num_parameters(model)} parameters, "
            f"{num_multiply_adds(model, side=checkpoint.config.data.crop_pixels)} multiply-adds"
        ),
        checkpoint_sha256=sha256,
        training_data=_training_data(checkpoint, options),
        licence=LICENCE,
        tools=_tools(),
    )


def _digest(checkpoint_sha256: str, scalings: HeadScalings) -> str:
    """Differs when the answers differ: by the weights, or by what is done to the logits."""
    numbers = [
        number for scaling in (scalings.ferplus, scalings.fer2013) for number in (scaling.temperature, *scaling.shifts)
    ]
    told = checkpoint_sha256 + "".join(f" {number:.3f}" for number in numbers)
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _spread_crops(faces: FaceSet, *, source: str, size: int) -> npt.NDArray[np.uint8]:
    """Crops from all over a set, on which ranges are measured."""
    faces = faces.without_blank()
    if not len(faces):
        raise SourceRejectedError(f"data {source} holds no pictures to measure the INT8 ranges on")
    chosen = np.unique(np.linspace(0, len(faces) - 1, _NUM_RANGE_CROPS).astype(np.int64))
    return batch_from_pictures(faces.pictures[chosen], size=size)


def _training_data(checkpoint: Checkpoint, options: ExportOptions) -> str:
    data, begun_from = checkpoint.config.data, checkpoint.config.initial_checkpoint
    teachers = ", ".join(Path(path).parent.name for path in checkpoint.config.distill.teachers)
    minutes = checkpoint.elapsed_seconds / 60
    fitted_on = data.validation_split or "the validation data"
    chosen = f" (the best on {fitted_on})" if options.checkpoint_name == "best.pt" else ""
    return (
        f"{Path(data.path).name} {data.train_split or ''} with FER+ votes where it has them, "
        f"{checkpoint.epoch} epochs{chosen}, {minutes:.0f} minutes"
        f"{f' after those of {Path(begun_from).parent.name}' if begun_from else ''}"
        f"{f', with the answers of {teachers}' if teachers else ''}; logits scaled by what was fitted on {fitted_on}, "
        f"those of the FER+ head to the {options.ferplus_target}"
    )


def _tools() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
