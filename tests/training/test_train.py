"""Training on made faces: it learns, resumes exactly, survives being killed, and refuses what cannot work."""

from __future__ import annotations

import csv
import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from emostream.errors import ConfigError, InferenceError
from training.checkpoint import load_checkpoint
from training.config import TrainConfig, save_config
from training.train import fit, main


def with_optim(config: TrainConfig, **changes: object) -> TrainConfig:
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **changes))  # type: ignore[arg-type]


def test_learns_and_writes_the_run_folder(tmp_path: Path, tiny_config: TrainConfig) -> None:
    config = with_optim(tiny_config, epochs=12)
    metrics = fit(config, tmp_path / "run", show_progress=False)
    assert metrics["accuracy"] > 0.5
    assert metrics["ferplus_accuracy"] > 0.5
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "metrics.csv", "last.pt", "best.pt"}
    with (tmp_path / "run" / "metrics.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == list(range(1, 13))
    assert float(lines[-1]["train_loss"]) < float(lines[0]["train_loss"])


def test_a_resumed_run_ends_with_the_same_weights(
    tmp_path: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tiny_config, tmp_path / "whole", show_progress=False)

    from training import train

    original, calls = train.train_one_epoch, []

    def stop_in_second_epoch(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "train_one_epoch", stop_in_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config, tmp_path / "parts", show_progress=False)
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
    fit(tiny_config, tmp_path / "run", show_progress=False)
    with pytest.raises(ConfigError, match="was made with other settings"):
        fit(dataclasses.replace(tiny_config, seed=1), tmp_path / "run", show_progress=False)


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(
    tmp_path: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import train

    original = train.train_one_epoch

    def broken_after_first(state: train.TrainState, *arguments: object, **options: object) -> object:
        if state.epoch == 1:
            with torch.no_grad():
                state.model.ferplus_head.bias.fill_(float("nan"))
        return original(state, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "train_one_epoch", broken_after_first)
    with pytest.raises(InferenceError, match="the loss became nan in epoch 2"):
        fit(tiny_config, tmp_path / "run", show_progress=False)
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    assert checkpoint.epoch == 1
    assert all(torch.isfinite(weight).all() for weight in checkpoint.weights.values())


def test_starts_from_another_run(tmp_path: Path, tiny_config: TrainConfig) -> None:
    fit(with_optim(tiny_config, epochs=12), tmp_path / "first", show_progress=False)
    still = with_optim(tiny_config, epochs=1, peak_learning_rate=0.0)
    config = dataclasses.replace(still, initial_checkpoint=str(tmp_path / "first" / "last.pt"))
    metrics = fit(config, tmp_path / "second", show_progress=False)
    assert metrics["accuracy"] > 0.5


def test_command_line_reports_mistakes_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--run", str(tmp_path / "run"), "--set", f"data.path={tmp_path / 'missing'}", "--quiet"]
    assert main(arguments) == 3
    assert capsys.readouterr().err == f"error: data {tmp_path / 'missing'} does not exist\n"


@pytest.mark.slow
@pytest.mark.integration
def test_a_killed_process_can_be_resumed(tmp_path: Path, tiny_config: TrainConfig) -> None:
    config = with_optim(tiny_config, epochs=500)
    save_config(config, tmp_path / "config.yaml")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training.train", "--config", str(tmp_path / "config.yaml"), "--run", str(run)]
    with subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (run / "best.pt").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    epoch = load_checkpoint(run / "last.pt").epoch
    assert 1 <= epoch < 500
    with subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while load_checkpoint(run / "last.pt").epoch <= epoch and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert load_checkpoint(run / "last.pt").epoch > epoch
