"""One run from its settings to its last epoch; `training.train` is the command.

The run folder gets `config.yaml` (effective settings), `metrics.csv` (a line per epoch), `curves.png`, `last.pt` and
`best.pt`. Started again on the same folder, it goes on after the last finished epoch; random numbers are drawn from a
seed for each epoch, so a run that was killed gives the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from emostream.errors import ConfigError
from training.balance import balanced, logit_offsets
from training.config import TrainConfig
from training.device import Compute, open_compute
from training.distill import Teachers, load_teachers, taught_targets
from training.loop import RunContext, progress_of, train_one_epoch
from training.model import num_parameters
from training.runlog import RunLog, describe
from training.schedule import seconds_left, spoken_time
from training.state import BEST_NAME, TrainState, open_run_folder, save_state, start_or_resume
from training.train_set import TrainSet, load_sets, num_targets_of, task_of
from training.validation import require_measurable, score_of, validate
from training.world import ALONE, World

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
