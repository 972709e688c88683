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

from emostream.domain.event import UNKNOWN, class_name_problem
from emostream.domain.model_manifest import ModelManifest, sha256_of
from emostream.errors import ConfigError, ManifestError, SourceRejectedError
from emostream.vision.classify.preprocess import batch_from_pictures
from training.config import DataConfig, TrainConfig
from training.convert.activation_ranges import RangePolicy
from training.convert.onnx_graph import INPUT_NAME, OTHER_VOTES_NAME, OUTPUT_NAMES, ServedModel, onnx_from_model
from training.data.face_set import FaceSet
from training.data.load import load_splits
from training.loop.checkpoint import Checkpoint, load_checkpoint
from training.loop.validation import predict
from training.measure.inference import HeadOutputs
from training.measure.scalings import FerplusTarget, FittedScalings, HeadScalings, fit_scalings, probabilities_at
from training.nets.build import build_model, describe_model, num_multiply_adds, num_parameters

MAX_BATCH_SIZE = 256
_NUM_RANGE_CROPS = 512


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a run is written down.

    Attributes:
        checkpoint_name: file in the run folder.
        name: of the model, carried by every event; None is that of the run (its settings' `name`, or its folder).
        licence: of the weights, in the words of who owns them; None where none was given.
        file_base: name of the default variant's file, without its ending.
        ferplus_target: what the FER+ head is fitted to.
        policy: how INT8 ranges follow from what was measured.
        cpu_layout: of the INT8 variant for ONNX Runtime.
    """

    checkpoint_name: str = "last.pt"
    name: str | None = None
    licence: str | None = None
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
    """All but what differs between the variants."""


def load_trained(run: Path, options: ExportOptions) -> TrainedModel:
    """Read a run, fit its scalings and let it answer the validation crops.

    Raises:
        ModelUnavailableError: the run has no such checkpoint.
        ManifestError: the checkpoint is damaged, or a head of the net learned from no picture.
        ConfigError: the name or the licence is no text that a manifest can hold.
        SourceRejectedError: the run's data cannot be read, or has other classes now.
    """
    checkpoint_path = run / options.checkpoint_name
    checkpoint = load_checkpoint(checkpoint_path)
    checkpoint_sha256 = sha256_of(checkpoint_path)
    name = _name_of(checkpoint, run, options)
    training, faces = load_splits(checkpoint.config.data)
    _require_trained(checkpoint, training, run)
    task = checkpoint.task
    faces = faces.with_classes(task.class_names)
    size = checkpoint.config.data.crop_pixels
    crops = batch_from_pictures(faces.pictures, size=size)
    model = build_model(checkpoint.config.model, task)
    model.load_state_dict(checkpoint.ema_weights)
    logits = HeadOutputs(*(of_head.numpy() for of_head in predict(model, torch.from_numpy(crops))))
    scalings = fit_scalings(logits, faces, ferplus_target=options.ferplus_target, has_vote_head=task.has_votes)
    served = ServedModel(model, scalings.chosen, has_votes=task.has_votes)
    return TrainedModel(
        checkpoint=checkpoint,
        checkpoint_sha256=checkpoint_sha256,
        graph=onnx_from_model(served, input_size_pixels=size),
        range_crops=_spread_crops(training, source=checkpoint.config.data.path, size=size),
        faces=faces,
        crops=crops,
        expected=probabilities_at(logits, scalings.chosen),
        scalings=scalings,
        manifest=_manifest(
            checkpoint, served, name=name, sha256=checkpoint_sha256, scalings=scalings.chosen, options=options
        ),
    )


def _name_of(checkpoint: Checkpoint, run: Path, options: ExportOptions) -> str:
    config_name = checkpoint.config.name
    name = options.name if options.name is not None else config_name
    if options.name is None and config_name == TrainConfig().name:
        name = run.resolve().name  # the settings have none of their own
    for what, text in (("model name", name), ("run name", config_name), ("licence", options.licence or "none")):
        # As long as those of classes, and as printable.
        if text != UNKNOWN and (problem := class_name_problem(text)):
            raise ConfigError(f"{what} {problem}: choose another one (--name, --licence)")
    return name


def _require_trained(checkpoint: Checkpoint, training: FaceSet, run: Path) -> None:
    """Refuse a net with a head that was not trained."""
    optim, task = checkpoint.config.optim, checkpoint.task
    num_targets = checkpoint.num_targets
    if num_targets is None:  # an older version did not count them
        has_votes = optim.ferplus_weight > 0 and (training.has_votes or bool(checkpoint.config.distill.teachers))
        num_targets = {"ferplus": int(has_votes), "fer2013": int(optim.fer2013_weight > 0)}
    if task.has_votes and not num_targets.get("ferplus"):
        raise ManifestError(
            f"run {run}: its head {OUTPUT_NAMES[0]!r}, which events carry, learned from no picture, since the data has "
            "no FER+ votes; train again into another folder, and that head learns from the labels"
        )
    if not num_targets.get("fer2013"):
        raise ManifestError(
            f"run {run}: its head for the labels learned from no picture, since optim.fer2013_weight is 0; train again "
            "into another folder with a weight above 0"
        )


def _manifest(
    checkpoint: Checkpoint,
    served: ServedModel,
    *,
    name: str,
    sha256: str,
    scalings: HeadScalings,
    options: ExportOptions,
) -> ModelManifest:
    side = checkpoint.config.data.crop_pixels
    return ModelManifest(
        name=name,
        version=f"{checkpoint.config.name}-e{checkpoint.epoch}-{scalings_digest(sha256, scalings)}",
        file="",
        sha256="0" * 64,  # known once the file is written
        labels=checkpoint.task.class_names,
        input_name=INPUT_NAME,
        input_size_pixels=side,
        outputs=served.output_names,
        other_votes_output=OTHER_VOTES_NAME if served.has_other_votes else None,
        max_batch_size=MAX_BATCH_SIZE,
        architecture=(
            f"{describe_model(checkpoint.config.model)}, {num_parameters(served.model)} parameters, "
            f"{num_multiply_adds(served.model, side=side)} multiply-adds"
        ),
        checkpoint_sha256=sha256,
        training_data=_training_data(checkpoint, options),
        licence=options.licence,
        tools=_tools(),
    )


def scalings_digest(checkpoint_sha256: str, scalings: HeadScalings) -> str:
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
    fitted_on = _measured_on(data)
    chosen = f" (the best on {fitted_on})" if options.checkpoint_name == "best.pt" else ""
    source = " ".join(filter(None, [Path(data.path).name, data.train_split]))
    task = checkpoint.task
    told = "with FER+ votes where it has them" if task.has_votes else f"labels of {len(task.class_names)} classes"
    return (
        f"{source} {told}, "
        f"{checkpoint.epoch} epochs{chosen}, {minutes:.0f} minutes"
        f"{f' after those of {Path(begun_from).parent.name}' if begun_from else ''}"
        f"{f', with the answers of {teachers}' if teachers else ''}; logits scaled by what was fitted on {fitted_on}"
        f"{f', those of the FER+ head to the {options.ferplus_target}' if task.has_votes else ''}"
    )


def _measured_on(data: DataConfig) -> str:
    if data.validation_split is not None:
        return data.validation_split
    if data.validation_path is not None:
        return "the validation data"
    return f"{100 * data.validation_share:g} % of the pictures kept apart by photograph"


def _tools() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
