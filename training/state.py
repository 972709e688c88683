"""What changes while training: made fresh, or taken up from the run folder, and saved into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from emostream.errors import ConfigError
from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.config import TrainConfig, config_as_dict, save_config
from training.distill import Teachers, load_teachers
from training.model import CompactNet, build_model

LAST_NAME = "last.pt"
BEST_NAME = "best.pt"


@dataclass(slots=True, eq=False)
class TrainState:
    """What changes while training."""

    model: CompactNet
    ema_model: CompactNet
    optimizer: torch.optim.Optimizer
    teachers: Teachers | None = None
    epoch: int = 0
    step: int = 0
    elapsed_seconds: float = 0.0
    best_score: float = 0.0


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; no weight decay on norms and biases, which do not overfit."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    free = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.SGD(
        [{"params": decayed, "weight_decay": config.optim.weight_decay}, {"params": free, "weight_decay": 0.0}],
        lr=config.optim.peak_learning_rate,
        momentum=config.optim.momentum,
        nesterov=True,
    )


@torch.no_grad()
def update_average(ema_model: nn.Module, model: nn.Module, *, decay: float) -> None:
    """Move the averaged weights, and batch statistics, a step towards the trained ones."""
    current = model.state_dict()
    for name, average in ema_model.state_dict().items():
        if average.dtype.is_floating_point:
            average.lerp_(current[name].to(average.dtype), 1.0 - decay)
        else:
            average.copy_(current[name])


def start_or_resume(config: TrainConfig, run: Path) -> TrainState:
    model = build_model(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema_model = build_model(config.model)
    ema_model.load_state_dict(model.state_dict())
    teachers = load_teachers(config.distill.teachers)
    state = TrainState(model, ema_model, build_optimizer(model, config), teachers)
    run.mkdir(parents=True, exist_ok=True)
    last = run / LAST_NAME
    if last.is_file():
        checkpoint = load_checkpoint(last)
        if config_as_dict(checkpoint.config) != config_as_dict(config):
            raise ConfigError(
                f"run folder {run} was made with other settings (see {run / 'config.yaml'}); "
                "choose another folder, or start with the same settings to resume"
            )
        model.load_state_dict(checkpoint.weights)
        ema_model.load_state_dict(checkpoint.ema_weights)
        state.optimizer.load_state_dict(checkpoint.optimizer)
        state.epoch, state.step = checkpoint.epoch, checkpoint.step
        state.elapsed_seconds, state.best_score = checkpoint.elapsed_seconds, checkpoint.best_score
        return state
    if config.initial_checkpoint is not None:
        start = load_checkpoint(Path(config.initial_checkpoint))
        model.load_state_dict(start.ema_weights)
        ema_model.load_state_dict(start.ema_weights)
    save_config(config, run / "config.yaml")
    return state


def save_state(state: TrainState, config: TrainConfig, metrics: dict[str, float], run: Path, *, is_best: bool) -> None:
    checkpoint = Checkpoint(
        config=config,
        epoch=state.epoch,
        step=state.step,
        elapsed_seconds=state.elapsed_seconds,
        weights=state.model.state_dict(),
        ema_weights=state.ema_model.state_dict(),
        optimizer=state.optimizer.state_dict(),
        metrics=metrics,
        best_score=state.best_score,
    )
    save_checkpoint(checkpoint, run / LAST_NAME)
    if is_best:
        save_checkpoint(checkpoint, run / BEST_NAME)
