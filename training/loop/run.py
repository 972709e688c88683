"""One run from its settings to its last epoch; `training.train` is the command.

The run folder gets `config.yaml` (effective settings), `metrics.csv` (a line per epoch), `curves.png`, `last.pt` and
`best.pt`. Started again on the same folder, it goes on after the last finished epoch; random numbers are drawn from a
seed for each epoch, so a run that was killed gives the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.errors import ConfigError, InferenceError
from training.augment.warp import augment, mix
from training.config import TrainConfig
from training.loop.device import CPU, Compute, open_compute
from training.loop.distill import Teachers, load_teachers, taught_targets
from training.loop.loss import Targets, balanced, logit_offsets, two_head_loss
from training.loop.process_group import ALONE, World
from training.loop.runlog import RunLog, describe
from training.loop.sam import unchanged_batch_statistics, worst_neighbour
from training.loop.schedule import (
    crop_side_at,
    ema_decay_at,
    learning_rate_at,
    seconds_left,
    spoken_time,
    training_progress,
)
from training.loop.state import BEST_NAME, TrainState, open_run_folder, save_state, start_or_resume, update_average
from training.loop.train_set import TrainSet, load_sets, num_targets_of, task_of
from training.loop.transfer import freeze_stages, set_learning_rate
from training.loop.validation import require_measurable, score_of, validate
from training.nets.build import num_parameters

_LOOK_EVERY_STEPS = 10
"""How often losses are looked at. A look makes a GPU finish all its work, and workers wait for each other."""


@dataclass(frozen=True, slots=True, eq=False)
class RunContext:
    """What stays the same during a run.

    Attributes:
        config: all settings.
        compute: device and precision.
        world: the processes that train together.
        forward: the net as it is called while training: itself, compiled, or averaging gradients over processes.
        teachers: nets to learn from.
        logit_offsets: added to the logits of both heads while training (`training.loop.loss`).
        has_votes: whether there is a head for votes.
    """

    config: TrainConfig
    forward: nn.Module
    compute: Compute = CPU
    world: World = ALONE
    teachers: Teachers | None = None
    logit_offsets: tuple[Tensor, Tensor] | None = None
    has_votes: bool = True


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the schedule says at one step."""

    progress: float
    learning_rate: float
    side_pixels: int


def train_one_epoch(state: TrainState, data: TrainSet, context: RunContext, *, show_progress: bool) -> dict[str, float]:
    """One pass over the training crops; changes `state` in place and returns the mean losses.

    Random numbers come from the seed, the epoch and the rank alone, so an epoch that is done again gives the same.

    Raises:
        InferenceError: the loss is not a number any more.
    """
    config, world = context.config, context.world
    seed = config.seed * 1_000_003 + state.epoch
    torch.manual_seed(seed + world.rank * 7919)
    order = torch.Generator().manual_seed(seed)
    generator = context.compute.generator(seed + (world.rank + 1) * 104_729)
    steps_per_epoch = max(len(data) // config.optim.batch_size, 1)
    started, elapsed_before = time.monotonic(), state.elapsed_seconds
    sums = torch.zeros(3, device=context.compute.device)
    context.forward.train()
    bar = tqdm(
        _batches(len(data), config.optim.batch_size, order),
        total=steps_per_epoch,
        desc=f"epoch {state.epoch + 1}/{config.optim.epochs}",
        disable=not show_progress,
        leave=False,
        mininterval=2.0,
    )
    moment = _moment(state, data, context, steps_per_epoch)
    for number, index in enumerate(bar, start=1):
        moment = _moment(state, data, context, steps_per_epoch)
        set_learning_rate(state.optimizer.param_groups, moment.learning_rate)
        if config.transfer.unfreeze_at:
            context.forward.train()
            freeze_stages(state.model, config.transfer, progress=moment.progress)
        mine = world.share(index)
        crops, targets = context.compute.put(data.crops[mine]), data.targets.take(mine).each(context.compute.put)
        sums += _train_step(state, crops, targets, context, generator=generator, side=moment.side_pixels)
        state.elapsed_seconds = elapsed_before + time.monotonic() - started
        if number % _LOOK_EVERY_STEPS == 0 or number == steps_per_epoch:
            mean = _mean_losses(sums, number, state, world)
            left = spoken_time(seconds_left(moment.progress, state.elapsed_seconds))
            bar.set_postfix_str(f"loss {mean[0]:.3f}, rate {moment.learning_rate:.4f}, {left} left", refresh=False)
    state.epoch += 1
    state.elapsed_seconds = world.of_first(state.elapsed_seconds, device=context.compute.device)
    world.average_batch_statistics(state.model, state.ema_model)
    losses = dict(zip(("train_loss", "train_ferplus_loss", "train_fer2013_loss"), mean, strict=True))
    if not context.has_votes:
        del losses["train_ferplus_loss"]
    return {"learning_rate": moment.learning_rate, **losses}


def _batches(num: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(num, generator=generator)
    # The rest of the last batch is left for the next epoch's order: a tiny batch would spoil the batch statistics.
    for start in range(0, max(num - batch_size, 0) + 1, batch_size):
        yield order[start : start + batch_size]


def progress_of(state: TrainState, config: TrainConfig) -> float:
    """The part of training that is done, 0…1, by epochs or by time."""
    optim = config.optim
    return training_progress(
        step=state.epoch,
        total_steps=optim.epochs,
        elapsed_seconds=state.elapsed_seconds,
        time_budget_seconds=None if optim.time_budget_minutes is None else optim.time_budget_minutes * 60,
    )


def _moment(state: TrainState, data: TrainSet, context: RunContext, steps_per_epoch: int) -> _Moment:
    optim = context.config.optim
    budget = None if optim.time_budget_minutes is None else optim.time_budget_minutes * 60
    if budget is not None:
        state.elapsed_seconds = context.world.of_first(state.elapsed_seconds, device=context.compute.device)
    progress = training_progress(
        step=state.step,
        total_steps=steps_per_epoch * optim.epochs,
        elapsed_seconds=state.elapsed_seconds,
        time_budget_seconds=budget,
    )
    rate = learning_rate_at(
        progress,
        peak=optim.peak_learning_rate,
        warmup_fraction=optim.warmup_fraction,
        final_ratio=optim.final_learning_rate_ratio,
    )
    side = crop_side_at(
        progress,
        full_pixels=data.crops.shape[-1],
        small_pixels=optim.small_crop_pixels,
        small_fraction=optim.small_crop_fraction,
    )
    return _Moment(progress, rate, side)


def _mean_losses(sums: Tensor, num_steps: int, state: TrainState, world: World) -> list[float]:
    mean = sums / num_steps
    # All processes see the same mean, so that all stop when one of them must.
    world.average([mean])
    values: list[float] = mean.tolist()
    if not all(map(math.isfinite, values)):
        raise InferenceError(
            f"the loss became {values[0]} in epoch {state.epoch + 1}, before step {state.step}; the last good "
            "checkpoint is kept: lower optim.peak_learning_rate and start the run again"
        )
    return values


def _train_step(
    state: TrainState, crops: Tensor, targets: Targets, context: RunContext, *, generator: torch.Generator, side: int
) -> Tensor:
    """One step of the weights and of their average; returns the losses (total, FER+, challenge), detached."""
    optim, scaler = context.config.optim, state.scaler
    with context.compute.placing():
        batch, targets = _varied(crops, targets, context.config, generator, side=side)
    state.optimizer.zero_grad(set_to_none=True)
    if optim.sam_radius > 0:
        # Each process looks for the worst point of its own part of the batch, which needs no word with the others.
        with _without_averaging(context.forward):
            losses = _losses(batch, targets, context)
            scaler.scale(losses[0]).backward()  # type: ignore[no-untyped-call]
        with (
            worst_neighbour(state.model.parameters(), radius=optim.sam_radius),
            unchanged_batch_statistics(state.model),
        ):
            scaler.scale(_losses(batch, targets, context)[0]).backward()  # type: ignore[no-untyped-call]
    else:
        losses = _losses(batch, targets, context)
        scaler.scale(losses[0]).backward()  # type: ignore[no-untyped-call]
    scaler.unscale_(state.optimizer)
    nn.utils.clip_grad_norm_(state.model.parameters(), optim.max_gradient_norm)
    scaler.step(state.optimizer)
    scaler.update()
    update_average(state.ema_model, state.model, decay=ema_decay_at(state.step, decay=optim.ema_decay))
    state.step += 1
    return losses.detach()


def _varied(
    crops: Tensor, targets: Targets, config: TrainConfig, generator: torch.Generator, *, side: int
) -> tuple[Tensor, Targets]:
    """Augmented and mixed: uint8 n×s×s → float32 n×1×side×side in 0…255, with the targets that belong to it."""
    batch = augment(crops, config.augment, generator, side=side)
    if config.augment.mixup_probability > 0 or config.augment.cutmix_probability > 0:
        batch, share, partner = mix(batch, config.augment, generator)
        targets = targets.mixed(targets.take(partner), share)
    return batch.contiguous(memory_format=torch.channels_last), targets


def _losses(batch: Tensor, targets: Targets, context: RunContext) -> Tensor:
    """(total, FER+, challenge) of a batch, a vector of three."""
    config = context.config
    with context.compute.autocast():
        ferplus, fer2013 = context.forward(batch)
    if context.logit_offsets is not None:
        ferplus, fer2013 = ferplus + context.logit_offsets[0], fer2013 + context.logit_offsets[1]
    # Without votes one head gives both answers, and the labels, or a teacher's answer to them, are all it learns.
    weights = {
        "ferplus_weight": config.optim.ferplus_weight if context.has_votes else 0.0,
        "fer2013_weight": config.optim.fer2013_weight,
    }
    total, ferplus_loss, fer2013_loss = two_head_loss(
        ferplus, fer2013, targets, **weights, label_smoothing=config.optim.label_smoothing
    )
    if context.teachers is not None:
        taught = context.teachers.targets(batch, context.compute.autocast())
        lesson, _, _ = two_head_loss(ferplus, fer2013, taught, **weights, label_smoothing=0.0)
        total = torch.lerp(total, lesson, config.distill.weight)
    return torch.stack([total, ferplus_loss, fer2013_loss])


def _without_averaging(forward: nn.Module) -> contextlib.AbstractContextManager[None]:
    if isinstance(forward, DistributedDataParallel):
        return forward.no_sync()
    return contextlib.nullcontext()


EpochListener = Callable[[dict[str, float]], None]
"""Called by every process after each epoch, with the line of the log."""


def fit(
    config: TrainConfig,
    run: Path,
    *,
    show_progress: bool = True,
    world: World = ALONE,
    device: torch.device | None = None,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
    on_epoch: EpochListener | None = None,
) -> dict[str, float]:
    """Train until the schedule ends, saving after each epoch; goes on where the run folder stands.

    Args:
        config: all settings.
        run: folder of the run; with several processes all must see the same one.
        show_progress: draw a bar.
        world: this process among those that train together, each calling this function.
        device: what a launcher gave this process; None leaves it to the settings.
        wrap: makes the net average its gradients over all processes.
        on_epoch: told after each epoch.

    Returns:
        The validation metrics of the averaged weights after the last epoch.

    Raises:
        ConfigError: the run folder belongs to other settings or data, or the settings ask for what the data has not.
        EmostreamError: data or checkpoint cannot be used, the run folder cannot be written, or the loss is no number.
    """
    if config.optim.batch_size % world.size:
        raise ConfigError(
            f"optim.batch_size {config.optim.batch_size} cannot be shared out evenly over {world.size} processes"
        )
    compute = open_compute(config, device=device, num_workers=world.local_size)
    training, validation = load_sets(config)
    task = task_of(training, config)
    require_measurable(validation, config.validation)
    state = start_or_resume(config, run, task=task, compute=compute, tell=print if world.is_first else lambda _: None)
    teachers = load_teachers(config.distill.teachers, task=task, compute=compute)
    if teachers is not None and config.distill.num_views:
        targets = taught_targets(teachers, training.crops, training.targets, config, compute=compute)
        training, teachers = dataclasses.replace(training, targets=targets), None
    state.num_targets = num_targets_of(training.targets, task, config)
    context = _context(config, state, training, compute=compute, world=world, wrap=wrap, teachers=teachers)
    training = dataclasses.replace(training, targets=balanced(training.targets, config.balance))
    with _open_log(config, run, state) if world.is_first else contextlib.nullcontext() as log:
        if world.is_first:
            heads = "a head for votes and one for labels" if task.has_votes else "one head, for labels: no votes"
            print(
                f"{len(training)} training and {len(validation)} validation crops, "
                f"{num_parameters(state.model)} parameters, {compute.device.type} {compute.precision}\n"
                f"{len(task.class_names)} classes: {', '.join(task.class_names)}; {heads}"
            )
        while not (_is_schedule_over(state, config) or _is_patience_over(state, config)):
            line = _train_and_validate(state, training, validation, context, show_progress=show_progress)
            if log is not None:
                log.add(line)
                save_state(state, config, run)
                _tell(line, state, config)
            if on_epoch is not None:
                on_epoch(line)
    return state.metrics


def _context(
    config: TrainConfig,
    state: TrainState,
    training: TrainSet,
    *,
    compute: Compute,
    world: World,
    wrap: Callable[[nn.Module], nn.Module] | None,
    teachers: Teachers | None,
) -> RunContext:
    forward: nn.Module = state.model
    if config.compile:
        forward = torch.compile(forward)  # type: ignore[assignment]
    if wrap is not None:
        forward = wrap(forward)
    offsets = logit_offsets(training.targets, config.balance)
    return RunContext(
        config=config,
        forward=forward,
        compute=compute,
        world=world,
        teachers=teachers,
        has_votes=state.task.has_votes,
        logit_offsets=None if offsets is None else (compute.put(offsets[0]), compute.put(offsets[1])),
    )


def _open_log(config: TrainConfig, run: Path, state: TrainState) -> RunLog:
    open_run_folder(config, run)
    return RunLog(run, epoch=state.epoch, tensorboard=config.tensorboard)


def _train_and_validate(
    state: TrainState, training: TrainSet, validation: TrainSet, context: RunContext, *, show_progress: bool
) -> dict[str, float]:
    """One epoch, and its measures where they are due; returns the line of the log."""
    config = context.config
    line = train_one_epoch(state, training, context, show_progress=show_progress and context.world.is_first)
    if state.epoch % config.validation.every_epochs == 0 or _is_schedule_over(state, config):
        state.metrics = validate(state.ema_model, validation, world=context.world)
        score = score_of(state.metrics, config.validation)
        if score > state.best_score:
            state.best_score, state.best_epoch = score, state.epoch
        line |= state.metrics
    return {"epoch": state.epoch, "elapsed_seconds": round(state.elapsed_seconds, 1), **line}


def _tell(line: dict[str, float], state: TrainState, config: TrainConfig) -> None:
    text = describe(line)
    progress = progress_of(state, config)
    if progress < 1:
        text += f"  left {spoken_time(seconds_left(progress, state.elapsed_seconds))}"
    print(text, flush=True)
    if progress < 1 and _is_patience_over(state, config):
        print(
            f"stopped early: {config.validation.metric} has not become better since epoch {state.best_epoch}; "
            f"{BEST_NAME} holds that epoch",
            flush=True,
        )


def _is_schedule_over(state: TrainState, config: TrainConfig) -> bool:
    budget = config.optim.time_budget_minutes
    return state.epoch >= config.optim.epochs or (budget is not None and state.elapsed_seconds >= budget * 60)


def _is_patience_over(state: TrainState, config: TrainConfig) -> bool:
    patience = config.validation.patience_epochs
    return patience is not None and state.epoch - state.best_epoch >= patience
