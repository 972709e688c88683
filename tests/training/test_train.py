"""Training on made faces: it learns, resumes exactly, survives being killed, and refuses what cannot work."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import torch

from emostream.errors import ConfigError, InferenceError
from tests.training.conftest import LearntRun
from training.config import BalanceConfig, TrainConfig, TransferConfig, ValidationConfig
from training.loop.checkpoint import load_checkpoint, save_checkpoint
from training.loop.curves import read_metrics
from training.loop.run import EpochListener, fit
from training.train import main

pytestmark = pytest.mark.heavy


def with_optim(config: TrainConfig, **changes: object) -> TrainConfig:
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **changes))  # type: ignore[arg-type]


def test_learns_and_writes_the_run_folder(learnt_run: LearntRun) -> None:
    assert learnt_run.metrics["accuracy"] > 0.5
    assert learnt_run.metrics["ferplus_accuracy"] > 0.5
    names = {path.name for path in learnt_run.folder.iterdir()}
    assert names == {"config.yaml", "metrics.csv", "curves.png", "last.pt", "best.pt"}
    with (learnt_run.folder / "metrics.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == list(range(1, 13))
    assert float(lines[-1]["train_loss"]) < float(lines[0]["train_loss"])


def stop_after(epoch: int) -> EpochListener:
    """Interrupts a run when that many epochs are done."""

    def stop(line: dict[str, float]) -> None:
        if line["epoch"] == epoch:
            raise KeyboardInterrupt

    return stop


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, tiny_config: TrainConfig) -> None:
    fit(tiny_config, tmp_path / "whole", show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config, tmp_path / "parts", show_progress=False, on_epoch=stop_after(1))
    assert load_checkpoint(tmp_path / "parts" / "last.pt").epoch == 1
    fit(tiny_config, tmp_path / "parts", show_progress=False)
    whole, parts = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert parts.epoch == whole.epoch == 3
    for name, weight in whole.ema_weights.items():
        assert torch.equal(weight, parts.ema_weights[name]), name


def test_a_finished_run_started_again_only_reports(tmp_path: Path, tiny_config: TrainConfig) -> None:
    first = fit(tiny_config, tmp_path / "run", show_progress=False)
    assert fit(tiny_config, tmp_path / "run", show_progress=False) == first


def test_a_time_budget_ends_the_run(tmp_path: Path, tiny_config: TrainConfig) -> None:
    fit(with_optim(tiny_config, epochs=1000, time_budget_minutes=1e-6), tmp_path / "run", show_progress=False)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == 1


def test_a_folder_of_other_settings_is_refused(tmp_path: Path, tiny_config: TrainConfig) -> None:
    fit(with_optim(tiny_config, epochs=1), tmp_path / "run", show_progress=False)
    other = dataclasses.replace(with_optim(tiny_config, epochs=1, momentum=0.5), seed=1)
    with pytest.raises(ConfigError) as caught:
        fit(other, tmp_path / "run", show_progress=False)
    assert "was made with other settings: seed was 0 and is 1 now, and 1 more differ; choose another" in str(
        caught.value
    )


def test_a_run_may_go_on_elsewhere(tmp_path: Path, tiny_config: TrainConfig) -> None:
    config = with_optim(tiny_config, epochs=2)
    first = fit(config, tmp_path / "run", show_progress=False)
    moved = dataclasses.replace(config, name="moved", device="cpu", num_threads=2)
    assert fit(moved, tmp_path / "run", show_progress=False) == first


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path: Path, tiny_config: TrainConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config, tmp_path / "run", show_progress=False, on_epoch=stop_after(1))
    last = tmp_path / "run" / "last.pt"
    checkpoint = load_checkpoint(last)
    checkpoint.weights["fer2013_head.bias"].fill_(float("nan"))
    save_checkpoint(checkpoint, last)
    before = {path.name: path.read_bytes() for path in last.parent.glob("*.pt")}
    with pytest.raises(InferenceError, match="nan in epoch 2"):
        fit(tiny_config, tmp_path / "run", show_progress=False)
    assert {path.name: path.read_bytes() for path in last.parent.glob("*.pt")} == before
    assert [row["epoch"] for row in read_metrics(tmp_path / "run")] == [1]


def test_starts_from_another_run(tmp_path: Path, tiny_config: TrainConfig, learnt_run: LearntRun) -> None:
    still = with_optim(tiny_config, epochs=1, peak_learning_rate=0.0)
    config = dataclasses.replace(still, initial_checkpoint=str(learnt_run.folder / "last.pt"))
    metrics = fit(config, tmp_path / "second", show_progress=False)
    assert metrics["accuracy"] > 0.5


def test_command_line_reports_mistakes_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--run", str(tmp_path / "run"), "--set", f"data.path={tmp_path / 'missing'}", "--quiet"]
    assert main(arguments) == 3
    assert capsys.readouterr().err == f"error: data {tmp_path / 'missing'} does not exist\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"sam_radius": 0.05}, {"label_smoothing": 0.0, "small_crop_fraction": 0.5, "small_crop_pixels": 32}],
    ids=["sam", "small crops"],
)
def test_learns_in_other_ways_too(tmp_path: Path, tiny_config: TrainConfig, changes: dict[str, object]) -> None:
    metrics = fit(with_optim(tiny_config, epochs=12, **changes), tmp_path / "run", show_progress=False)
    assert metrics["accuracy"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["effective_number", "logit_adjustment"])
def test_learns_with_balanced_classes(tmp_path: Path, tiny_config: TrainConfig, method: str) -> None:
    balance = BalanceConfig(method=method)  # type: ignore[arg-type]
    config = dataclasses.replace(with_optim(tiny_config, epochs=12), balance=balance)
    assert fit(config, tmp_path / "run", show_progress=False)["accuracy"] > 0.5


def test_stops_when_the_metric_does_not_become_better(
    tmp_path: Path, tiny_config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    still = with_optim(tiny_config, epochs=50, peak_learning_rate=0.0)
    watch = ValidationConfig(metric="ferplus_accuracy", patience_epochs=3)
    config = dataclasses.replace(still, validation=watch)
    fit(config, tmp_path / "run", show_progress=False)
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    assert checkpoint.epoch < 20
    assert checkpoint.epoch == checkpoint.best_epoch + 3
    assert f"ferplus_accuracy has not become better since epoch {checkpoint.best_epoch}" in capsys.readouterr().out
    # Started again it is over, as it was.
    fit(config, tmp_path / "run", show_progress=False)
    assert load_checkpoint(tmp_path / "run" / "last.pt").epoch == checkpoint.epoch


def test_the_best_epoch_is_that_of_the_metric(tmp_path: Path, tiny_config: TrainConfig) -> None:
    watch = ValidationConfig(metric="fer2013_loss")
    config = dataclasses.replace(with_optim(tiny_config, epochs=6), validation=watch)
    fit(config, tmp_path / "run", show_progress=False)
    losses = [row["fer2013_loss"] for row in read_metrics(tmp_path / "run")]
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert best.epoch == losses.index(min(losses)) + 1
    assert best.best_score == pytest.approx(-min(losses))


def test_validation_costs_as_much_as_the_settings_allow(tmp_path: Path, tiny_config: TrainConfig) -> None:
    seldom = ValidationConfig(every_epochs=2, max_crops=10)
    config = dataclasses.replace(tiny_config, validation=seldom)
    metrics = fit(config, tmp_path / "run", show_progress=False)
    rows = read_metrics(tmp_path / "run")
    assert ["accuracy" in row for row in rows] == [False, True, True]
    assert (metrics["accuracy"] * 10) == pytest.approx(round(metrics["accuracy"] * 10))


def test_unfreezes_from_the_top(tmp_path: Path, tiny_config: TrainConfig) -> None:
    fit(tiny_config, tmp_path / "first", show_progress=False)
    transfer = TransferConfig(pretrained=str(tmp_path / "first" / "last.pt"), unfreeze_at=(0.5, 1.0), rate_decay=0.5)
    config = dataclasses.replace(with_optim(tiny_config, epochs=2), transfer=transfer)
    fit(config, tmp_path / "second", show_progress=False)
    before, after = (load_checkpoint(tmp_path / run / "last.pt") for run in ("first", "second"))
    start, end = before.ema_weights, after.weights
    assert torch.equal(start["stem.0.weight"], end["stem.0.weight"])
    assert torch.equal(start["stem.1.running_mean"], end["stem.1.running_mean"])
    assert not torch.equal(start["blocks.1.conv2.weight"], end["blocks.1.conv2.weight"])
