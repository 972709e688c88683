"""Checkpoints: everything a run needs to go on, written so that a crash never leaves half a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emostream.errors import ManifestError, ModelUnavailableError
from training.config import TrainConfig, config_as_dict, config_from_dict

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
        best_score: the best validation score of the run so far.
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


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write beside the target and rename: the old checkpoint stays good until the new one is complete."""
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
    }
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is executed.

    Raises:
        ModelUnavailableError: there is no such file.
        ManifestError: the file is no checkpoint of this package.
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
    return Checkpoint(
        config=config_from_dict(content["config"]),
        epoch=content["epoch"],
        step=content["step"],
        elapsed_seconds=content["elapsed_seconds"],
        weights=content["weights"],
        ema_weights=content["ema_weights"],
        optimizer=content["optimizer"],
        metrics=content["metrics"],
        best_score=content["best_score"],
    )
