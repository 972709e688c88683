"""The log of a run: no gaps, no repetitions, a plot, and event files where TensorBoard is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest

from emostream.errors import ConfigError
from training.loop.curves import main as curves_main
from training.loop.curves import plot_curves, read_metrics
from training.loop.runlog import RunLog

pytestmark = pytest.mark.heavy

HAS_TENSORBOARD = find_spec("tensorboard") is not None


def made_row(epoch: int) -> dict[str, float]:
    return {
        "epoch": epoch,
        "elapsed_seconds": 10.0 * epoch,
        "learning_rate": 0.1 / epoch,
        "train_loss": 2.0 / epoch,
        "accuracy": 1 - 1 / (epoch + 1),
        "ferplus_accuracy": 1 - 1 / (epoch + 2),
        "fer2013_loss": 1.5,
        "ferplus_loss": 1.0,
    }


def epochs_in(run: Path) -> list[float]:
    return [row["epoch"] for row in read_metrics(run)]


def test_an_epoch_that_is_done_again_has_one_line(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for epoch in (1, 2, 3):
            log.add(made_row(epoch))
    # The run was killed after the line of epoch 3 and before its checkpoint.
    with RunLog(tmp_path, epoch=2) as log:
        log.add(made_row(3))
        log.add(made_row(4))
    assert epochs_in(tmp_path) == [1, 2, 3, 4]


def test_measures_that_were_not_taken_are_empty(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add({"epoch": 1, "train_loss": 2.0})
        log.add(made_row(2))
    rows = read_metrics(tmp_path)
    assert rows[0] == {"epoch": 1.0, "train_loss": 2.0}
    assert rows[1] == pytest.approx(made_row(2))


def test_the_plot_shows_something_even_when_the_run_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunLog(tmp_path) as log:
        for epoch in (1, 2, 3):
            log.add(made_row(epoch))
        raise KeyboardInterrupt
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    # Some curve in the first colour of the palette, #1f77b4 (read as BGR).
    assert ((picture == (0xB4, 0x77, 0x1F)).all(axis=2)).sum() > 100


def test_runs_are_laid_over_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "other"):
        with RunLog(tmp_path / name) as log:
            log.add(made_row(1))
            log.add(made_row(2))
    out = tmp_path / "both.png"
    assert curves_main([str(tmp_path / "one"), str(tmp_path / "other"), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    picture = cv2.imread(str(out))
    assert picture is not None
    assert ((picture == (0x0E, 0x7F, 0xFF)).all(axis=2)).sum() > 100


def test_a_folder_without_a_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert curves_main([str(tmp_path), "--out", str(tmp_path / "x.png")]) == 3
    assert "holds no metrics.csv with a line in it" in capsys.readouterr().err


def test_a_run_of_one_point_or_none_can_be_drawn(tmp_path: Path) -> None:
    plot_curves({"one": [made_row(1)], "none": [{"epoch": 1.0}]}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.skipif(HAS_TENSORBOARD, reason="TensorBoard is installed")
def test_asking_for_tensorboard_without_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tensorboard"):
        RunLog(tmp_path, tensorboard=True)


@pytest.mark.skipif(not HAS_TENSORBOARD, reason="needs TensorBoard")
def test_event_files_hold_the_same_figures(tmp_path: Path) -> None:
    with RunLog(tmp_path, tensorboard=True) as log:
        log.add(made_row(1))
        log.add(made_row(2))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("accuracy")] == [
        (1, pytest.approx(0.5)),
        (2, pytest.approx(2 / 3)),
    ]
