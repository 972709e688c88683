"""Checkpoints: everything a run needs to go on, written so that a crash never leaves half a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emostream.errors import ConfigError, ManifestError, ModelUnavailableError
from emostream.files import whole_file
from training.config import TrainConfig, config_as_dict, config_from_dict
from training.data.labels import Task

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state of a run after a whole epoch.

    Attributes:
        config: the effective settings of the run.
        epoch: number of finished epochs.
        step: number of finished optimiser steps.
        elapsed_seconds: training time so far, over all resumptions.
        weights: the trained weights.
        ema_weights: their moving average; this is what is evaluated and exported.
        optimizer: state of the optimiser.
        metrics: what the last validation measured on the averaged weights.
        best_score: the best validation score of the run so far; negative where the metric is a loss.
        best_epoch: the epoch after which it was measured.
        scaler: state of the gradient scaler, empty but for fp16.
        task: what the net predicts.
        num_targets: head → pictures that it learned from; None where an older version did not count them.
    """

    config: TrainConfig
    epoch: int
    step: int
    elapsed_seconds: float
    weights: dict[str, Tensor]
    ema_weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    metrics: dict[str, float]
    best_score: float
    best_epoch: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    task: Task = field(default_factory=Task)
    num_targets: dict[str, int] | None = None


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint; the old one at `path` stays good until the new one is complete.

    Raises:
        EmostreamError: the disk is full or the folder cannot be written.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "config": config_as_dict(checkpoint.config),
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "elapsed_seconds": checkpoint.elapsed_seconds,
        "weights": checkpoint.weights,
        "ema_weights": checkpoint.ema_weights,
        "optimizer": checkpoint.optimizer,
        "metrics": checkpoint.metrics,
        "best_score": checkpoint.best_score,
        "best_epoch": checkpoint.best_epoch,
        "scaler": checkpoint.scaler,
        "class_names": list(checkpoint.task.class_names),
        "has_votes": checkpoint.task.has_votes,
        "num_targets": checkpoint.num_targets,
    }
    with whole_file(path, kept="the last good checkpoint is kept") as file:
        torch.save(content, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint into host memory; nothing in the file is executed.

    Settings that the file does not know get their defaults.

    Raises:
        ModelUnavailableError: there is no such file.
        ManifestError: the file is no checkpoint of this package, or of a newer one.
    """
    if not path.is_file():
        raise ModelUnavailableError(
            f"checkpoint {path} does not exist; a run folder holds last.pt after its first epoch"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # torch raises many kinds for a damaged archive; all mean the same here
        raise ManifestError(f"checkpoint {path} is damaged or no checkpoint: {str(exc).splitlines()[0]}") from exc
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise ManifestError(f"checkpoint {path} is not of format {FORMAT_VERSION}; it was written by something else")
    try:
        config = config_from_dict(content["config"])
    except ConfigError as exc:
        raise ManifestError(f"checkpoint {path} was made by another version of this package: {exc}") from exc
    return Checkpoint(
        config=config,
        epoch=content["epoch"],
        step=content["step"],
        elapsed_seconds=content["elapsed_seconds"],
        weights=content["weights"],
        ema_weights=content["ema_weights"],
        optimizer=content["optimizer"],
        metrics=content["metrics"],
        best_score=content["best_score"],
        # Checkpoints from before there was early stopping do not say which epoch was best.
        best_epoch=content["best_epoch"] if "best_epoch" in content else content["epoch"],
        scaler=content.get("scaler", {}),
        # Older ones have FER2013's classes and both heads, whatever they learned from.
        task=Task(tuple(content["class_names"]), content["has_votes"]) if "class_names" in content else Task(),
        num_targets=content.get("num_targets"),
    )


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: Path, settings: str = "") -> None:
    """Put the weights of a checkpoint into a net.

    Args:
        model: the net; unchanged when the weights do not fit.
        weights: name → value, of every parameter and buffer.
        source: the checkpoint, for the message.
        settings: how the settings of both differ, for the message.

    Raises:
        ManifestError: they are of another net; the message names the first difference.
    """
    problem = _first_misfit(model.state_dict(), weights)
    if problem is not None:
        why = f"{settings}; " if settings else ""
        raise ManifestError(
            f"checkpoint {source} is of another architecture: {why}{problem}; "
            "set the section `model` as in the config.yaml beside it, or choose another checkpoint"
        )
    model.load_state_dict(weights)


def _first_misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    for name, value in wanted.items():
        if name not in given:
            return f"it has no {name}"
        if given[name].shape != value.shape:
            return f"expected {name} of shape {list(value.shape)}, got {list(given[name].shape)}"
    return next((f"its {name} has no place here" for name in given if name not in wanted), None)
