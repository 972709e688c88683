"""Train a model: `python -m training.train --config training/configs/first.yaml --run runs/first`.

The run folder gets `config.yaml` (effective settings), `metrics.csv` (a line per epoch), `last.pt` and `best.pt`.
Started again on the same folder, it goes on after the last finished epoch; random numbers are drawn from a seed for
each epoch, so a run that was killed gives the same weights as one that was not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from emostream.errors import EmostreamError
from training.checkpoint import load_checkpoint
from training.config import TrainConfig, load_config
from training.loop import train_one_epoch
from training.model import num_parameters
from training.runlog import append_metrics
from training.state import BEST_NAME, LAST_NAME, TrainState, save_state, start_or_resume
from training.train_set import load_sets
from training.validation import predict, validate

__all__ = ["BEST_NAME", "LAST_NAME", "TrainState", "fit", "main", "predict", "train_one_epoch"]


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
    state = start_or_resume(config, run)
    training, validation = load_sets(config)
    print(f"{len(training)} training and {len(validation)} validation crops, {num_parameters(state.model)} parameters")
    metrics: dict[str, float] = {}
    while not _is_finished(state, config):
        losses = train_one_epoch(state, training, config, show_progress=show_progress)
        metrics = validate(state.ema_model, validation)
        score = (metrics["accuracy"] + metrics["ferplus_accuracy"]) / 2
        is_best = score > state.best_score
        state.best_score = max(score, state.best_score)
        save_state(state, config, metrics, run, is_best=is_best)
        line = {"epoch": state.epoch, "elapsed_seconds": round(state.elapsed_seconds, 1), **losses, **metrics}
        append_metrics(run / "metrics.csv", line)
        print("  ".join(f"{key} {value:.4g}" for key, value in line.items()), flush=True)
    return metrics or load_checkpoint(run / LAST_NAME).metrics


def _is_finished(state: TrainState, config: TrainConfig) -> bool:
    budget = config.optim.time_budget_minutes
    return state.epoch >= config.optim.epochs or (budget is not None and state.elapsed_seconds >= budget * 60)


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
