"""Results of a search, from run folders alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from emostream.errors import EmostreamError
from training.config import TrainConfig, load_config, save_config
from training.loop.runlog import RunLog
from training.search.results import collect_trials, print_results, write_results
from training.search.space import Draw, SearchSpace, with_settings

pytestmark = pytest.mark.heavy

SPACE = SearchSpace({"optim.epochs": 3}, {"optim.momentum": Draw("uniform", (0.1, 0.9))})


def made_trial(folder: Path, name: str, *, momentum: float, accuracies: list[float], failure: str = "") -> None:
    run = folder / name
    save_config(with_settings(TrainConfig(), {"optim.momentum": momentum, "optim.epochs": 3}), run / "config.yaml")
    with RunLog(run) as log:
        for epoch, accuracy in enumerate(accuracies, start=1):
            measures = {"accuracy": accuracy, "ferplus_accuracy": accuracy, "fer2013_loss": 1.0, "ferplus_loss": 1.0}
            log.add({"epoch": epoch, **measures})
    if failure:
        (run / "failure.txt").write_text(failure, encoding="utf-8")


def made_search(folder: Path) -> Path:
    made_trial(folder, "a", momentum=0.5, accuracies=[0.2, 0.3])
    made_trial(folder, "b", momentum=0.6, accuracies=[0.4, 0.7, 0.6])
    made_trial(folder, "c", momentum=0.7, accuracies=[], failure="the loss became nan")
    (folder / "not a run").mkdir()
    return folder


def test_trials_come_best_first_and_failures_last(tmp_path: Path) -> None:
    trials = collect_trials(made_search(tmp_path), SPACE)
    assert [(trial.name, trial.score, trial.epochs) for trial in trials] == [
        ("b", 0.7, 3),
        ("a", 0.3, 2),
        ("c", None, 0),
    ]
    assert trials[0].drawn == {"optim.momentum": 0.6}
    assert trials[2].failure == "the loss became nan"


def test_best_settings_are_the_base_with_what_was_drawn(tmp_path: Path) -> None:
    base = TrainConfig(name="base")
    write_results(collect_trials(made_search(tmp_path / "trials"), SPACE), base, tmp_path)
    assert load_config(tmp_path / "best.yaml") == with_settings(base, {"optim.momentum": 0.6})
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["trial"] for line in lines] == ["b", "a", "c"]
    assert (lines[0]["score"], lines[0]["optim.momentum"], lines[2]["failure"]) == ("0.7", "0.6", "the loss became nan")


def test_a_search_without_a_single_score_says_why(tmp_path: Path) -> None:
    made_trial(tmp_path / "trials", "c", momentum=0.7, accuracies=[], failure="the loss became nan")
    with pytest.raises(EmostreamError, match="nan"):
        write_results(collect_trials(tmp_path / "trials", SPACE), TrainConfig(), tmp_path)
    assert not (tmp_path / "best.yaml").exists()


def test_the_table_shows_what_was_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(collect_trials(made_search(tmp_path), SPACE))
    shown = capsys.readouterr().out
    assert "best 3 of 3 trials" in shown
    assert "0.7000" in shown
    assert "momentum 0.6" in shown
