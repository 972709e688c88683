"""The log of a run: a line per epoch in `metrics.csv`, a plot of it, and TensorBoard's event files where asked for.

The table is what is always there: anything reads it, it can be compared with a diff, and a run that goes on continues
it without gaps or repetitions. TensorBoard shows curves while they grow, but brings a web server and a file format that
only it reads, so it is an extra.
"""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any

from emostream.errors import ConfigError, EmostreamError
from emostream.files import whole_file
from training.loop.curves import METRICS_NAME, plot_curves, read_metrics

CURVES_NAME = "curves.png"
TENSORBOARD_NAME = "tensorboard"

_COLUMNS = (
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


class RunLog:
    """Opened on a run folder that stands after `epoch`; lines of later epochs are dropped, as these are done again.

    A context manager: the plot is drawn at the end, however the run ends.

    Raises:
        ConfigError: TensorBoard was asked for and is not installed.
    """

    def __init__(self, run: Path, *, epoch: int = 0, tensorboard: bool = False) -> None:
        self.run = run
        self._rows = [row for row in read_metrics(run) if row["epoch"] <= epoch]
        self._board = _open_board(run / TENSORBOARD_NAME, epoch=epoch) if tensorboard else None

    def add(self, row: dict[str, float]) -> None:
        """Append the line of one epoch; measures that were not taken may be missing.

        Raises:
            EmostreamError: the disk is full or the folder cannot be written; the table stays as it was.
        """
        rows = [{**each, "epoch": int(each["epoch"])} for each in (*self._rows, row)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=_COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
        with whole_file(self.run / METRICS_NAME, kept="the last good checkpoint is kept") as file:
            file.write(text.getvalue().encode())
        self._rows = rows
        if self._board is not None:
            for name, value in row.items():
                if name != "epoch":
                    self._board.add_scalar(name, value, int(row["epoch"]))

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()
        if len(self._rows) > 1:
            # The error that ends the run is the one to tell, not that there is no room for a plot either.
            with contextlib.suppress(EmostreamError) if error is not None else contextlib.nullcontext():
                plot_curves({self.run.name: self._rows}, self.run / CURVES_NAME)


def describe(row: dict[str, float]) -> str:
    """A line of the log as text.

    >>> describe({"epoch": 3.0, "accuracy": 0.65432})
    'epoch 3  accuracy 0.6543'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items())


def _open_board(folder: Path, *, epoch: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as exc:
        raise ConfigError("tensorboard=true needs TensorBoard: pip install tensorboard, or leave it out") from exc
    # What another process wrote for epochs that are done again is hidden.
    return SummaryWriter(folder, purge_step=epoch + 1)
