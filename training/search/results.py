"""What a search found, read from the run folders of its trials."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from emostream.errors import EmostreamError
from emostream.files import whole_file
from training.config import TrainConfig, config_as_dict, load_config, save_config
from training.loop.curves import read_metrics
from training.loop.validation import score_of
from training.search.space import SearchSpace, with_settings

RESULTS_NAME = "results.csv"
BEST_NAME = "best.yaml"
FAILURE_NAME = "failure.txt"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a search.

    Attributes:
        name: of its run folder.
        drawn: dotted setting → drawn value.
        epochs: finished epochs.
        score: the best of its validation scores, more is better; None before the first.
        metrics: what was measured when it was best.
        failure: why it ended early; empty when it did not, or was stopped as one of the worse ones.
    """

    name: str
    drawn: dict[str, Any]
    epochs: int
    score: float | None
    metrics: dict[str, float]
    failure: str = ""


def collect_trials(folder: Path, space: SearchSpace) -> list[Trial]:
    """The trials whose run folders lie in a folder, best first, those without a score last."""
    trials = [_read_trial(run, space) for run in sorted(folder.iterdir()) if (run / "config.yaml").is_file()]
    return sorted(trials, key=lambda trial: (trial.score is None, -(trial.score or 0.0)))


def _read_trial(run: Path, space: SearchSpace) -> Trial:
    config = load_config(run / "config.yaml")
    tree = config_as_dict(config)
    rows = read_metrics(run)
    measured = [(score_of(row, config.validation), row) for row in rows if "accuracy" in row]
    score, best = max(measured, key=lambda pair: pair[0], default=(None, {}))
    failure = run / FAILURE_NAME
    return Trial(
        name=run.name,
        drawn={key: _at(tree, key) for key in space.draws},
        epochs=int(rows[-1]["epoch"]) if rows else 0,
        score=score,
        metrics={name: best[name] for name in ("accuracy", "ferplus_accuracy") if name in best},
        failure=failure.read_text(encoding="utf-8") if failure.is_file() else "",
    )


def _at(tree: dict[str, Any], key: str) -> Any:
    node: Any = tree
    for part in key.split("."):
        node = node[part]
    return node


def write_results(trials: Sequence[Trial], base: TrainConfig, out: Path) -> None:
    """Write `results.csv`, a line per trial, and `best.yaml`: the base settings with what the best trial drew.

    Raises:
        EmostreamError: no trial has a score, or the folder cannot be written.
    """
    keys = list(trials[0].drawn) if trials else []
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["trial", "score", "accuracy", "ferplus_accuracy", "epochs", *keys, "failure"])
    for trial in trials:
        measures = (trial.score, trial.metrics.get("accuracy"), trial.metrics.get("ferplus_accuracy"))
        writer.writerow([trial.name, *measures, trial.epochs, *(trial.drawn[key] for key in keys), trial.failure])
    with whole_file(out / RESULTS_NAME) as file:
        file.write(text.getvalue().encode())
    if not trials or trials[0].score is None:
        why = next((f": {trial.failure}" for trial in trials if trial.failure), "")
        raise EmostreamError(f"no trial of {out} came to a validation{why}")
    save_config(with_settings(base, trials[0].drawn), out / BEST_NAME)


def print_results(trials: Sequence[Trial], *, num_shown: int = 10) -> None:
    """The best trials as a table."""
    table = Table(title=f"best {min(num_shown, len(trials))} of {len(trials)} trials")
    for name in ("trial", "score", "accuracy", "FER+", "epochs", "drawn"):
        table.add_column(name, justify="left" if name in ("trial", "drawn") else "right")
    for trial in trials[:num_shown]:
        drawn = "\n".join(f"{key.split('.')[-1]} {_short(value)}" for key, value in trial.drawn.items())
        measures = (trial.score, trial.metrics.get("accuracy"), trial.metrics.get("ferplus_accuracy"))
        shown = ("–" if value is None else f"{value:.4f}" for value in measures)
        table.add_row(trial.name, *shown, str(trial.epochs), trial.failure or drawn)
    Console().print(table)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
