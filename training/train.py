"""Train a model: `python -m training.train --config training/configs/first.yaml --run runs/first`.

The run folder gets `config.yaml` (effective settings), `metrics.csv` (a line per epoch), `last.pt` and `best.pt`.
Started again on the same folder, it goes on after the last finished epoch; random numbers are drawn from a seed for
each epoch, so a run that was killed gives the same weights as one that was not.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.classify.preprocess import batch_from_pictures
from emostream.emotion import EMOTIONS
from emostream.errors import ConfigError, EmostreamError, InferenceError
from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.config import TrainConfig, config_as_dict, load_config, save_config
from training.data import load_faces
from training.distill import Teachers, load_teachers
from training.faces import FaceSet
from training.labels import majority_labels, vote_distributions
from training.loss import Targets, one_hot, two_head_loss
from training.model import CompactNet, build_model, num_parameters
from training.schedule import crop_side_at, ema_decay_at, learning_rate_at, training_progress
from training.transforms import augment, mixup_shares

LAST_NAME = "last.pt"
BEST_NAME = "best.pt"
_METRIC_COLUMNS = (
    "epoch",
    "elapsed_seconds",
    "learning_rate",
    "train_loss",
    "train_ferplus_loss",
    "train_fer2013_loss",
    "accuracy",
    "ferplus_accuracy",
    "fer2013_loss",
    "ferplus_loss",
)


@dataclass(frozen=True, slots=True, eq=False)
class TrainSet:
    """Crops and targets of one split, in memory: uint8 n×64×64, and majority int64 n for measuring."""

    crops: Tensor
    targets: Targets
    labels: Tensor
    majority: Tensor

    def __len__(self) -> int:
        return len(self.crops)


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


def prepare(faces: FaceSet) -> TrainSet:
    """Pictures → crops and targets; blank pictures are left out."""
    faces = faces.without_blank()
    labels = torch.from_numpy(faces.labels)
    num = len(faces)
    votes = np.zeros((num, 10), dtype=np.float32) if faces.votes is None else faces.votes
    majority = torch.from_numpy(majority_labels(votes))
    return TrainSet(
        crops=torch.from_numpy(batch_from_pictures(faces.pictures)),
        targets=Targets(
            ferplus=torch.from_numpy(vote_distributions(votes)),
            ferplus_weight=(majority >= 0).to(torch.float32),
            fer2013=one_hot(labels, len(EMOTIONS)),
            fer2013_weight=torch.ones(num),
        ),
        labels=labels,
        majority=majority,
    )


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


def _autocast(config: TrainConfig) -> contextlib.AbstractContextManager[Any]:
    if config.precision == "bf16":
        return torch.autocast(config.device, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _batches(num: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(num, generator=generator)
    # The rest of the last batch is left for the next epoch's order: a tiny batch would spoil the batch statistics.
    for start in range(0, max(num - batch_size, 0) + 1, batch_size):
        yield order[start : start + batch_size]


def train_one_epoch(state: TrainState, data: TrainSet, config: TrainConfig, *, show_progress: bool) -> dict[str, float]:
    """One pass over the training crops; changes `state` in place and returns the mean losses.

    Raises:
        InferenceError: the loss is not a number any more.
    """
    optim = config.optim
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + state.epoch)
    torch.manual_seed(config.seed * 1_000_003 + state.epoch)
    steps_per_epoch = max(len(data) // optim.batch_size, 1)
    total_steps = steps_per_epoch * optim.epochs
    budget = None if optim.time_budget_minutes is None else optim.time_budget_minutes * 60
    started, elapsed_before = time.monotonic(), state.elapsed_seconds
    sums, learning_rate = np.zeros(3), 0.0
    model: nn.Module = state.model
    if config.compile:
        model = torch.compile(state.model)  # type: ignore[assignment]
    model.train()
    bar = tqdm(
        _batches(len(data), optim.batch_size, generator),
        total=steps_per_epoch,
        desc=f"epoch {state.epoch + 1}/{optim.epochs}",
        disable=not show_progress,
        leave=False,
        mininterval=2.0,
    )
    for index in bar:
        progress = training_progress(
            step=state.step,
            total_steps=total_steps,
            elapsed_seconds=state.elapsed_seconds,
            time_budget_seconds=budget,
        )
        learning_rate = learning_rate_at(
            progress,
            peak=optim.peak_learning_rate,
            warmup_fraction=optim.warmup_fraction,
            final_ratio=optim.final_learning_rate_ratio,
        )
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate
        side = crop_side_at(
            progress,
            full_pixels=data.crops.shape[-1],
            small_pixels=optim.small_crop_pixels,
            small_fraction=optim.small_crop_fraction,
        )
        losses = _train_step(
            state, model, data.crops[index], data.targets.take(index), config=config, generator=generator, side=side
        )
        if not np.isfinite(losses).all():
            raise InferenceError(
                f"the loss became {losses[0]} in epoch {state.epoch + 1}, step {state.step}; the last good checkpoint "
                "is kept: lower optim.peak_learning_rate and start the run again"
            )
        sums += losses
        state.elapsed_seconds = elapsed_before + time.monotonic() - started
        if show_progress:
            bar.set_postfix(loss=f"{losses[0]:.3f}", lr=f"{learning_rate:.4f}", refresh=False)
    state.epoch += 1
    mean = sums / steps_per_epoch
    return {
        "learning_rate": learning_rate,
        "train_loss": float(mean[0]),
        "train_ferplus_loss": float(mean[1]),
        "train_fer2013_loss": float(mean[2]),
    }


def _train_step(
    state: TrainState,
    model: nn.Module,
    crops: Tensor,
    targets: Targets,
    *,
    config: TrainConfig,
    generator: torch.Generator,
    side: int,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    optim = config.optim
    batch = augment(crops, config.augment, generator, side=side)
    if config.augment.mixup_probability > 0:
        share, partner = mixup_shares(len(batch), config.augment, generator)
        batch = torch.lerp(batch[partner], batch, share[:, None, None, None])
        targets = targets.mixed(targets.take(partner), share)
    batch = batch.contiguous(memory_format=torch.channels_last)
    with _autocast(config):
        ferplus_logits, fer2013_logits = model(batch)
    weights = {"ferplus_weight": optim.ferplus_weight, "fer2013_weight": optim.fer2013_weight}
    total, ferplus, fer2013 = two_head_loss(
        ferplus_logits, fer2013_logits, targets, **weights, label_smoothing=optim.label_smoothing
    )
    if state.teachers is not None:
        taught = state.teachers.targets(batch, _autocast(config))
        lesson, _, _ = two_head_loss(ferplus_logits, fer2013_logits, taught, **weights, label_smoothing=0.0)
        total = torch.lerp(total, lesson, config.distill.weight)
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), optim.max_gradient_norm)
    state.optimizer.step()
    update_average(state.ema_model, state.model, decay=ema_decay_at(state.step, decay=optim.ema_decay))
    state.step += 1
    return np.array([total.item(), ferplus.item(), fer2013.item()])


@torch.no_grad()
def predict(model: CompactNet, crops: Tensor, *, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """(FER+ logits, challenge logits) of uint8 crops n×64×64, float32, in evaluation mode and full precision."""
    model.eval()
    outputs = [
        model(crops[start : start + batch_size][:, None].contiguous(memory_format=torch.channels_last))
        for start in range(0, len(crops), batch_size)
    ]
    return torch.cat([ferplus for ferplus, _ in outputs]), torch.cat([fer2013 for _, fer2013 in outputs])


def validate(model: CompactNet, data: TrainSet) -> dict[str, float]:
    """Accuracy and cross entropy of both heads, duplicates of training pictures included."""
    ferplus, fer2013 = predict(model, data.crops)
    _, ferplus_loss, fer2013_loss = two_head_loss(
        ferplus, fer2013, data.targets, ferplus_weight=1.0, fer2013_weight=1.0, label_smoothing=0.0
    )
    known = data.majority >= 0
    right = ferplus.argmax(1)[known] == data.majority[known]
    return {
        "accuracy": float((fer2013.argmax(1) == data.labels).float().mean()),
        "ferplus_accuracy": float(right.float().mean()) if len(right) else 0.0,
        "fer2013_loss": float(fer2013_loss),
        "ferplus_loss": float(ferplus_loss),
    }


def fit(config: TrainConfig, run: Path, *, show_progress: bool = True) -> dict[str, float]:
    """Train until the schedule ends, saving after each epoch; goes on where the run folder stands.

    Returns:
        The validation metrics of the averaged weights after the last epoch.

    Raises:
        ConfigError: the run folder belongs to other settings.
        EmostreamError: data or checkpoint cannot be used.
    """
    torch.set_num_threads(config.num_threads)
    torch.manual_seed(config.seed)
    state = _start_or_resume(config, run)
    training, validation = _load_splits(config)
    print(f"{len(training)} training and {len(validation)} validation crops, {num_parameters(state.model)} parameters")
    metrics: dict[str, float] = {}
    while not _is_finished(state, config):
        losses = train_one_epoch(state, training, config, show_progress=show_progress)
        metrics = validate(state.ema_model, validation)
        score = (metrics["accuracy"] + metrics["ferplus_accuracy"]) / 2
        is_best = score > state.best_score
        state.best_score = max(score, state.best_score)
        _save(state, config, metrics, run, is_best=is_best)
        line = {"epoch": state.epoch, "elapsed_seconds": round(state.elapsed_seconds, 1), **losses, **metrics}
        _append_metrics(run / "metrics.csv", line)
        print("  ".join(f"{key} {value:.4g}" for key, value in line.items()), flush=True)
    return metrics or load_checkpoint(run / LAST_NAME).metrics


def _is_finished(state: TrainState, config: TrainConfig) -> bool:
    budget = config.optim.time_budget_minutes
    return state.epoch >= config.optim.epochs or (budget is not None and state.elapsed_seconds >= budget * 60)


def _load_splits(config: TrainConfig) -> tuple[TrainSet, TrainSet]:
    data = config.data
    training = prepare(load_faces(Path(data.path), split=data.train_split))
    validation = prepare(load_faces(Path(data.validation_path or data.path), split=data.validation_split))
    return training, validation


def _start_or_resume(config: TrainConfig, run: Path) -> TrainState:
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


def _save(state: TrainState, config: TrainConfig, metrics: dict[str, float], run: Path, *, is_best: bool) -> None:
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


def _append_metrics(path: Path, line: dict[str, float]) -> None:
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=_METRIC_COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(line)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description="Train, or resume, one run.")
    parser.add_argument("--config", type=Path, help="YAML file of differences from the defaults")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; resumed when it holds last.pt")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for example optim.epochs=3")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    try:
        fit(load_config(options.config, overrides=tuple(options.set)), options.run, show_progress=not options.quiet)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print(f"stopped; the last finished epoch is in {options.run}, the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
