"""The state of training: created, or resumed from the run folder, and saved to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emostream.errors import ConfigError, ManifestError
from training.config import TrainConfig, config_as_dict, differences, save_config
from training.data.labels import Task
from training.loop.checkpoint import Checkpoint, load_checkpoint, load_weights, save_checkpoint
from training.loop.device import CPU, Compute
from training.loop.transfer import is_vote_head, load_pretrained, parameter_groups
from training.nets.build import FaceNet, build_model

LAST_NAME = "last.pt"
BEST_NAME = "best.pt"

# Where and how a run is carried out; its weights mean the same without these, so they may change when it goes on.
_FREE_SETTINGS = {"name", "device", "num_threads", "compile", "deterministic", "tensorboard"}


@dataclass(slots=True, eq=False)
class TrainState:
    """What changes while training.

    Attributes:
        model: the trained net.
        ema_model: the moving average of its weights.
        optimizer: with its momenta.
        scaler: of gradients, for fp16.
        epoch: number of finished epochs.
        step: number of finished optimiser steps.
        elapsed_seconds: training time so far, validation left out.
        best_score: the best validation score so far.
        best_epoch: number of finished epochs when it was measured.
        metrics: what the last validation measured.
        task: what the net predicts.
        num_targets: head → pictures that it learns from.
    """

    model: FaceNet
    ema_model: FaceNet
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int = 0
    step: int = 0
    elapsed_seconds: float = 0.0
    best_score: float = -math.inf
    best_epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    task: Task = field(default_factory=Task)
    num_targets: dict[str, int] | None = None


def build_optimizer(model: FaceNet, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, in the groups that `training.loop.transfer` makes."""
    optim = config.optim
    groups = parameter_groups(model, weight_decay=optim.weight_decay, rate_decay=config.transfer.rate_decay)
    return torch.optim.SGD(groups, lr=optim.peak_learning_rate, momentum=optim.momentum, nesterov=True)


@torch.no_grad()
def update_average(ema_model: nn.Module, model: nn.Module, *, decay: float) -> None:
    """Move the averaged weights, and batch statistics, a step towards the trained ones."""
    current = model.state_dict()
    for name, average in ema_model.state_dict().items():
        if average.dtype.is_floating_point:
            average.lerp_(current[name].to(average.dtype), 1.0 - decay)
        else:
            average.copy_(current[name])


def start_or_resume(
    config: TrainConfig,
    run: Path,
    *,
    task: Task | None = None,
    compute: Compute = CPU,
    tell: Callable[[str], None] = print,
) -> TrainState:
    """The state where the run folder stands, or a fresh one; writes nothing.

    Args:
        config: all settings.
        run: folder of the run, which need not exist.
        task: what the net learns; None is that of FER2013 with votes.
        compute: where the net goes.
        tell: is given what was taken from other nets.

    Raises:
        ConfigError: the run folder belongs to other settings or data, or pre-trained weights do not fit.
        ModelError: a checkpoint is missing, damaged or of another architecture.
    """
    task = task or Task()
    last = run / LAST_NAME
    checkpoint = load_checkpoint(last) if last.is_file() else None
    if checkpoint is not None:
        _require_same_settings(checkpoint.config, config, run)
        _require_same_task(checkpoint.task, task, run)
    model, ema_model = build_model(config.model, task), build_model(config.model, task)
    if checkpoint is not None:
        load_weights(model, checkpoint.weights, source=last)
        load_weights(ema_model, checkpoint.ema_weights, source=last)
    else:
        _load_initial(model, config, task)
        transferred = load_pretrained(model, config, task)
        if transferred is not None:
            tell(str(transferred))
        ema_model.load_state_dict(model.state_dict())
    model, ema_model = (
        net.to(device=compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for net in (model, ema_model)
    )
    state = TrainState(model, ema_model, build_optimizer(model, config), compute.scaler(), task=task)
    if checkpoint is not None:
        _load_progress(state, checkpoint, source=last)
    return state


def save_state(state: TrainState, config: TrainConfig, run: Path) -> None:
    """Write `last.pt`, and `best.pt` before it when this epoch is the best so far.

    In this order a run that ends between the two does the epoch again, and both files are right in the end.

    Raises:
        EmostreamError: the disk is full or the folder cannot be written; what was there is kept.
    """
    checkpoint = Checkpoint(
        config=config,
        epoch=state.epoch,
        step=state.step,
        elapsed_seconds=state.elapsed_seconds,
        weights=state.model.state_dict(),
        ema_weights=state.ema_model.state_dict(),
        optimizer=state.optimizer.state_dict(),
        metrics=state.metrics,
        best_score=state.best_score,
        best_epoch=state.best_epoch,
        scaler=state.scaler.state_dict(),
        task=state.task,
        num_targets=state.num_targets,
    )
    if state.best_epoch == state.epoch:
        save_checkpoint(checkpoint, run / BEST_NAME)
    save_checkpoint(checkpoint, run / LAST_NAME)


def open_run_folder(config: TrainConfig, run: Path) -> None:
    """Make the run folder with the effective settings in it.

    Raises:
        EmostreamError: the folder cannot be written.
    """
    if not (run / LAST_NAME).is_file():
        save_config(config, run / "config.yaml")


def _load_initial(model: FaceNet, config: TrainConfig, task: Task) -> None:
    if config.initial_checkpoint is None:
        return
    path = Path(config.initial_checkpoint)
    start = load_checkpoint(path)
    if start.task.class_names != task.class_names:
        raise ManifestError(
            f"checkpoint {path} tells {', '.join(start.task.class_names)} apart, the data has "
            f"{', '.join(task.class_names)}: name it as transfer.pretrained, which takes all but the heads"
        )
    there, here = ({"model": config_as_dict(each)["model"]} for each in (start.config, config))
    first = next(iter(differences(there, here)), None)
    settings = "" if first is None else f"{first[0]} is {first[1]} there and {first[2]} here"
    # The head for labels goes on learning from labels; one for votes has nothing to learn from without them.
    weights = {name: value for name, value in start.ema_weights.items() if task.has_votes or not is_vote_head(name)}
    load_weights(model, weights, source=path, settings=settings)


def _load_progress(state: TrainState, checkpoint: Checkpoint, *, source: Path) -> None:
    try:
        state.optimizer.load_state_dict(checkpoint.optimizer)
        state.scaler.load_state_dict(checkpoint.scaler)
    except (KeyError, ValueError, RuntimeError) as exc:
        raise ManifestError(
            f"checkpoint {source} holds weights but no state of the optimiser that fits: a run cannot go on from it; "
            "name it as initial_checkpoint of a run in another folder"
        ) from exc
    state.epoch, state.step = checkpoint.epoch, checkpoint.step
    state.elapsed_seconds, state.metrics = checkpoint.elapsed_seconds, checkpoint.metrics
    state.best_score, state.best_epoch = checkpoint.best_score, checkpoint.best_epoch


def _require_same_settings(made_with: TrainConfig, given: TrainConfig, run: Path) -> None:
    old, new = (_binding_settings(config) for config in (made_with, given))
    found = differences(old, new)
    if not found:
        return
    key, before, now = found[0]
    more = f", and {len(found) - 1} more differ" if len(found) > 1 else ""
    raise ConfigError(
        f"run folder {run} was made with other settings: {key} was {before} and is {now} now{more}; "
        f"choose another folder, or go on with --config {run / 'config.yaml'}"
    )


def _require_same_task(made_with: Task, given: Task, run: Path) -> None:
    if made_with == given:
        return
    before, now = (
        f"classes {', '.join(task.class_names)} {'with' if task.has_votes else 'without'} votes"
        for task in (made_with, given)
    )
    raise ConfigError(
        f"run folder {run} was made with other data: {before}; the data has {now} now; choose another folder"
    )


def _binding_settings(config: TrainConfig) -> dict[str, Any]:
    return {key: value for key, value in config_as_dict(config).items() if key not in _FREE_SETTINGS}
