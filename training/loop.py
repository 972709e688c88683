"""One pass over the training crops, step by step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.errors import InferenceError
from training.config import TrainConfig
from training.loss import Targets, two_head_loss
from training.schedule import crop_side_at, ema_decay_at, learning_rate_at, training_progress
from training.state import TrainState, update_average
from training.train_set import TrainSet
from training.transforms import augment, mixup_shares


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
