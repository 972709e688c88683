"""One run from its settings to its last epoch: `fit` prepares it, `train` is the loop; `training.train` is the command.

The run folder gets `config.yaml` (effective settings), `metrics.csv` (a line per epoch), `curves.png`, `last.pt` and
`best.pt`. Started again on the same folder, it goes on after the last finished epoch; random numbers are drawn from a
seed for each epoch, so a run that was killed gives the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
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
from training.loop.schedule import duration_text, ema_decay_at, moment_at, seconds_left, training_progress
from training.loop.state import BEST_NAME, TrainState, open_run_folder, save_state, start_or_resume, update_average
from training.loop.train_set import TrainSet, load_sets, num_targets_of, task_of
from training.loop.transfer import freeze_stages, set_learning_rate
from training.loop.validation import require_measurable, score_of, validate
from training.nets.build import num_parameters

_LOOK_EVERY_STEPS = 10
"""How often losses are looked at. A look makes a GPU finish all its work, and workers wait for each other."""


EpochListener = Callable[[dict[str, float]], None]
"""Called by every process after each epoch, with the line of the log."""


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
        on_epoch: called after each epoch.

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
    teachers = load_teachers(config.distill, task=task, compute=compute)
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
        train(state, training, validation, context, log=log, on_epoch=on_epoch, show_progress=show_progress)
    return state.metrics


def train(
    state: TrainState,
    training: TrainSet,
    validation: TrainSet,
    context: RunContext,
    *,
    log: RunLog | None = None,
    on_epoch: EpochListener | None = None,
    show_progress: bool = False,
) -> None:
    """The training loop: epochs of steps, each epoch measured and saved, until the schedule or the patience ends.

    Args:
        state: changed in place.
        training: crops and targets to learn from.
        validation: crops and targets to measure on.
        context: what stays the same during the run.
        log: of the run folder, to which every epoch is saved; None saves nothing.
        on_epoch: called after each epoch.
        show_progress: draw a bar.

    Raises:
        InferenceError: the loss is not a number any more.
        EmostreamError: the run folder cannot be written.
    """
    config, compute, world = context.config, context.compute, context.world
    optim, model, scaler = config.optim, state.model, state.scaler
    steps_per_epoch = max(len(training) // optim.batch_size, 1)
    while not (_is_schedule_over(state, config) or _is_patience_over(state, config)):
        # Random numbers come from the seed, the epoch and the rank alone: an epoch that is done again gives the same.
        seed = config.seed * 1_000_003 + state.epoch
        torch.manual_seed(seed + world.rank * 7919)
        generator = compute.generator(seed + (world.rank + 1) * 104_729)
        # The rest of the last batch is left for the next epoch's order: a tiny batch would distort batch statistics.
        order = torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))
        sums = torch.zeros(3, device=compute.device)
        started = time.monotonic() - state.elapsed_seconds
        context.forward.train()
        for number in (bar := _progress_bar(state, config, steps_per_epoch, is_shown=show_progress and world.is_first)):
            if optim.time_budget_seconds is not None:
                state.elapsed_seconds = world.of_first(state.elapsed_seconds, device=compute.device)
            moment = moment_at(
                optim,
                step=state.step,
                total_steps=steps_per_epoch * optim.epochs,
                elapsed_seconds=state.elapsed_seconds,
                full_pixels=training.crops.shape[-1],
            )
            set_learning_rate(state.optimizer.param_groups, moment.learning_rate)
            if config.transfer.unfreeze_at:
                context.forward.train()
                freeze_stages(model, config.transfer, progress=moment.progress)
            mine = world.share(order[(number - 1) * optim.batch_size : number * optim.batch_size])
            batch, targets = _batch(training, mine, context, generator, side=moment.side_pixels)
            state.optimizer.zero_grad(set_to_none=True)
            sums += _backward(state, batch, targets, context)
            scaler.unscale_(state.optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), optim.max_gradient_norm)
            scaler.step(state.optimizer)
            scaler.update()
            update_average(state.ema_model, model, decay=ema_decay_at(state.step, decay=optim.ema_decay))
            state.step += 1
            state.elapsed_seconds = time.monotonic() - started
            if number % _LOOK_EVERY_STEPS == 0 or number == steps_per_epoch:
                losses = _mean_losses(sums, number, state, context)
                left = duration_text(seconds_left(moment.progress, state.elapsed_seconds))
                told = f"loss {losses['train_loss']:.3f}, rate {moment.learning_rate:.4f}, {left} left"
                bar.set_postfix_str(told, refresh=False)
        state.epoch += 1
        state.elapsed_seconds = world.of_first(state.elapsed_seconds, device=compute.device)
        world.average_batch_statistics(model, state.ema_model)
        line = {"epoch": state.epoch, "elapsed_seconds": round(state.elapsed_seconds, 1)}
        line |= {"learning_rate": moment.learning_rate, **losses}
        if state.epoch % config.validation.every_epochs == 0 or _is_schedule_over(state, config):
            line |= _validate(state, validation, context)
        if log is not None:
            log.add(line)
            save_state(state, config, log.run)
            _tell(line, state, config)
        if on_epoch is not None:
            on_epoch(line)


def _progress_bar(state: TrainState, config: TrainConfig, num_steps: int, *, is_shown: bool) -> tqdm:
    return tqdm(
        range(1, num_steps + 1),
        desc=f"epoch {state.epoch + 1}/{config.optim.epochs}",
        disable=not is_shown,
        leave=False,
        mininterval=2.0,
    )


def _batch(
    training: TrainSet, index: Tensor, context: RunContext, generator: torch.Generator, *, side: int
) -> tuple[Tensor, Targets]:
    """Augmented and mixed crops, float32 n×1×side×side in 0…255, with the targets that belong to them."""
    compute, settings = context.compute, context.config.augment
    crops, targets = compute.put(training.crops[index]), training.targets.take(index).each(compute.put)
    with compute.placing():
        batch = augment(crops, settings, generator, side=side)
        if settings.mixup_probability > 0 or settings.cutmix_probability > 0:
            batch, share, partner = mix(batch, settings, generator)
            targets = targets.mixed(targets.take(partner), share)
        return batch.contiguous(memory_format=torch.channels_last), targets


def _backward(state: TrainState, batch: Tensor, targets: Targets, context: RunContext) -> Tensor:
    """Gradients of a batch, scaled, in the weights; returns its losses (total, FER+, challenge), detached."""
    radius, scaler, forward = context.config.optim.sam_radius, state.scaler, context.forward
    if radius == 0:
        losses = _losses(batch, targets, context)
        scaler.scale(losses[0]).backward()  # type: ignore[no-untyped-call]
        return losses.detach()
    # Each process finds the worst point for its own part of the batch, without communication.
    with forward.no_sync() if isinstance(forward, DistributedDataParallel) else contextlib.nullcontext():
        losses = _losses(batch, targets, context)
        scaler.scale(losses[0]).backward()  # type: ignore[no-untyped-call]
    with worst_neighbour(state.model.parameters(), radius=radius), unchanged_batch_statistics(state.model):
        scaler.scale(_losses(batch, targets, context)[0]).backward()  # type: ignore[no-untyped-call]
    return losses.detach()


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
        distillation, _, _ = two_head_loss(ferplus, fer2013, taught, **weights, label_smoothing=0.0)
        total = torch.lerp(total, distillation, config.distill.weight)
    return torch.stack([total, ferplus_loss, fer2013_loss])


def _mean_losses(sums: Tensor, num_steps: int, state: TrainState, context: RunContext) -> dict[str, float]:
    mean = sums / num_steps
    # All processes see the same mean, so that all stop when one of them must.
    context.world.average([mean])
    values: list[float] = mean.tolist()
    if not all(map(math.isfinite, values)):
        raise InferenceError(
            f"the loss became {values[0]} in epoch {state.epoch + 1}, before step {state.step}; the last good "
            "checkpoint is kept: lower optim.peak_learning_rate and start the run again"
        )
    losses = dict(zip(("train_loss", "train_ferplus_loss", "train_fer2013_loss"), values, strict=True))
    if not context.has_votes:
        del losses["train_ferplus_loss"]
    return losses


def _validate(state: TrainState, validation: TrainSet, context: RunContext) -> dict[str, float]:
    state.metrics = validate(state.ema_model, validation, world=context.world)
    score = score_of(state.metrics, context.config.validation)
    if score > state.best_score:
        state.best_score, state.best_epoch = score, state.epoch
    return state.metrics


def _tell(line: dict[str, float], state: TrainState, config: TrainConfig) -> None:
    text = describe(line)
    progress = progress_of(state, config)
    if progress < 1:
        text += f"  left {duration_text(seconds_left(progress, state.elapsed_seconds))}"
    print(text, flush=True)
    if progress < 1 and _is_patience_over(state, config):
        print(
            f"stopped early: {config.validation.metric} has not become better since epoch {state.best_epoch}; "
            f"{BEST_NAME} holds that epoch",
            flush=True,
        )


def progress_of(state: TrainState, config: TrainConfig) -> float:
    """The part of training that is done, 0…1, by epochs or by time."""
    return training_progress(
        step=state.epoch,
        total_steps=config.optim.epochs,
        elapsed_seconds=state.elapsed_seconds,
        time_budget_seconds=config.optim.time_budget_seconds,
    )


def _is_schedule_over(state: TrainState, config: TrainConfig) -> bool:
    budget = config.optim.time_budget_seconds
    return state.epoch >= config.optim.epochs or (budget is not None and state.elapsed_seconds >= budget)


def _is_patience_over(state: TrainState, config: TrainConfig) -> bool:
    patience = config.validation.patience_epochs
    return patience is not None and state.epoch - state.best_epoch >= patience


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
