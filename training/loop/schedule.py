"""What the schedule says at a point of training: learning rate, crop side, decay of the averaged weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.config import OptimConfig


@dataclass(frozen=True, slots=True)
class Moment:
    """What the schedule says at one step.

    Attributes:
        progress: the part of training that is done, 0…1.
        learning_rate: of the optimiser.
        side_pixels: of the crops.
    """

    progress: float
    learning_rate: float
    side_pixels: int


def moment_at(optim: OptimConfig, *, step: int, total_steps: int, elapsed_seconds: float, full_pixels: int) -> Moment:
    """Where training stands before a step.

    Args:
        optim: settings of the schedule.
        step: number of finished steps.
        total_steps: of the whole run.
        elapsed_seconds: training time so far.
        full_pixels: side of the crops as they were made.
    """
    progress = training_progress(
        step=step,
        total_steps=total_steps,
        elapsed_seconds=elapsed_seconds,
        time_budget_seconds=optim.time_budget_seconds,
    )
    rate = learning_rate_at(
        progress,
        peak=optim.peak_learning_rate,
        warmup_fraction=optim.warmup_fraction,
        final_ratio=optim.final_learning_rate_ratio,
    )
    side = crop_side_at(
        progress,
        full_pixels=full_pixels,
        small_pixels=optim.small_crop_pixels,
        small_fraction=optim.small_crop_fraction,
    )
    return Moment(progress, rate, side)


def learning_rate_at(progress: float, *, peak: float, warmup_fraction: float, final_ratio: float) -> float:
    """One cycle: a straight rise to `peak` over `warmup_fraction`, then half a cosine down to `peak × final_ratio`.

    `progress` is the part of training that is done, 0…1; values outside are clipped.

    >>> learning_rate_at(0.1, peak=0.2, warmup_fraction=0.1, final_ratio=0.0)
    0.2
    >>> round(learning_rate_at(1.0, peak=0.2, warmup_fraction=0.1, final_ratio=0.01), 4)
    0.002
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup_fraction:
        # Starts at a twentieth of the peak: batch statistics settle before the steps are large.
        return peak * (0.05 + 0.95 * progress / warmup_fraction)
    after_warmup = (progress - warmup_fraction) / max(1.0 - warmup_fraction, 1e-9)
    cosine = 0.5 * (1.0 + math.cos(math.pi * after_warmup))
    return peak * (final_ratio + (1.0 - final_ratio) * cosine)


def crop_side_at(progress: float, *, full_pixels: int, small_pixels: int, small_fraction: float) -> int:
    """Side of the crops at a point of training: small at first, where steps are many and coarse, full at the end.

    Progressive resizing as in EfficientNetV2 (Tan and Le, 2021), in two steps.

    >>> crop_side_at(0.5, full_pixels=64, small_pixels=48, small_fraction=0.8)
    48
    >>> crop_side_at(0.8, full_pixels=64, small_pixels=48, small_fraction=0.8)
    64
    """
    return small_pixels if progress < small_fraction else full_pixels


def training_progress(
    *, step: int, total_steps: int, elapsed_seconds: float, time_budget_seconds: float | None
) -> float:
    """The part of training that is done: by steps, or by time where a budget is set and runs out first."""
    by_steps = step / max(total_steps, 1)
    by_time = elapsed_seconds / time_budget_seconds if time_budget_seconds else 0.0
    return min(max(by_steps, by_time), 1.0)


def ema_decay_at(step: int, *, decay: float) -> float:
    """Decay of the weight average at a step: short memory at first, so that the random start is soon forgotten."""
    return min(decay, (1.0 + step) / (10.0 + step))


def seconds_left(progress: float, elapsed_seconds: float) -> float:
    """How long training will go on at its pace so far; 0 while nothing can be said.

    >>> seconds_left(0.25, 60.0)
    180.0
    """
    return elapsed_seconds * (1.0 - progress) / progress if progress > 0 else 0.0


def duration_text(seconds: float) -> str:
    """A duration in readable units.

    >>> [duration_text(seconds) for seconds in (8.2, 130, 5400)]
    ['8 s', '2 min', '1 h 30 min']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
