"""The log of a run: a line per epoch in `metrics.csv`."""

from __future__ import annotations

import csv
from pathlib import Path

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


def append_metrics(path: Path, line: dict[str, float]) -> None:
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=_METRIC_COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(line)
