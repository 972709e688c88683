"""Curves of runs: `python -m training.curves runs/first runs/second --out curves.png` lays several over each other."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from emostream.errors import EmostreamError, SourceRejectedError
from emostream.files import whole_file

METRICS_NAME = "metrics.csv"


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The lines of `metrics.csv`, none when there is no such file; measures that were not taken are left out."""
    path = run / METRICS_NAME
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]


Rows = Sequence[Mapping[str, float]]

# (title, unit, what is drawn: column → style)
_PANELS = (
    ("accuracy on validation crops", "%", {"accuracy": "-", "ferplus_accuracy": "--"}),
    ("loss", "", {"train_loss": ":", "fer2013_loss": "-", "ferplus_loss": "--"}),
    ("learning rate", "", {"learning_rate": "-"}),
)
_NAMES = {
    "accuracy": "labels",
    "ferplus_accuracy": "FER+ majority",
    "train_loss": "training",
    "fer2013_loss": "validation, labels",
    "ferplus_loss": "validation, FER+ votes",
    "learning_rate": "learning rate",
}


def plot_curves(runs: Mapping[str, Rows], path: Path) -> None:
    """Draw accuracy, losses and learning rate by epoch, a colour for each run, as a PNG.

    Raises:
        EmostreamError: the file cannot be written.
    """
    # Drawn without pyplot, which would keep a list of figures and choose a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(_PANELS), 1, sharex=True, height_ratios=(3, 3, 1))
    for panel, (title, unit, columns) in zip(panels, _PANELS, strict=True):
        factor = 100.0 if unit == "%" else 1.0
        for number, (run, rows) in enumerate(runs.items()):
            for column, style in columns.items():
                points = [(row["epoch"], row[column] * factor) for row in rows if column in row]
                if not points:
                    continue  # without votes there is nothing about them
                name = _NAMES[column] if len(runs) == 1 else f"{run}: {_NAMES[column]}"
                panel.plot(*zip(*points, strict=True), style, color=f"C{number}", label=name)
        panel.set(title=title, ylabel=unit)
        panel.grid(alpha=0.3)
        if len(columns) > 1:
            panel.legend(fontsize="small")
    panels[-1].set_xlabel("epoch")
    with whole_file(path) as file:
        figure.savefig(file, dpi=110, format="png")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.curves", description="Draw the curves of runs.")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="PNG file (default: curves.png)")
    options = parser.parse_args(arguments)
    try:
        rows = {str(run): read_metrics(run) for run in options.runs}
        empty = next((run for run, lines in rows.items() if not lines), None)
        if empty is not None:
            raise SourceRejectedError(f"{empty} holds no {METRICS_NAME} with a line in it: name folders of runs")
        plot_curves(rows, options.out)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
