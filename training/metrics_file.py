"""`metrics.csv` of a run folder: a line per epoch."""

from __future__ import annotations

import csv
from pathlib import Path

METRICS_NAME = "metrics.csv"


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The lines of `metrics.csv`, none when there is no such file; measures that were not taken are left out."""
    path = run / METRICS_NAME
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
