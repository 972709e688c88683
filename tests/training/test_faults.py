"""Real faults in child processes: a killed run, an interrupted one, a full disk. Each goes on afterwards."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.made import made_faces, save_npz
from training.config import TrainConfig, save_config
from training.loop.checkpoint import load_checkpoint
from training.loop.curves import read_metrics
from training.loop.run import fit

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]


def longer(config: TrainConfig, folder: Path, *, epochs: int = 4) -> TrainConfig:
    """Epochs of 128 steps, so that a signal comes in the middle of one."""
    data = dataclasses.replace(config.data, path=str(save_npz(made_faces(1024), folder / "many.npz")))
    optim = dataclasses.replace(config.optim, epochs=epochs, batch_size=8)
    return dataclasses.replace(config, data=data, optim=optim)


def command(config: TrainConfig, run: Path) -> list[str]:
    settings = run.parent / "settings.yaml"
    save_config(config, settings)
    return [sys.executable, "-m", "training.train", "--quiet", "--config", str(settings), "--run", str(run)]


def stopped_in_an_epoch(config: TrainConfig, run: Path, *, by: signal.Signals) -> tuple[int, str]:
    """Start a run, send it a signal in its second epoch; returns (exit code, what it said)."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command(config, run), cwd=REPOSITORY, text=True, **pipes) as child:  # type: ignore[call-overload]
        while not (run / "last.pt").is_file() and child.poll() is None:
            time.sleep(0.05)
        time.sleep(0.3)
        child.send_signal(by)
        said, _ = child.communicate()
    return child.returncode, said


def assert_same_end(one: Path, other: Path) -> None:
    first, second = load_checkpoint(one / "last.pt"), load_checkpoint(other / "last.pt")
    assert first.epoch == second.epoch
    for name, weight in first.ema_weights.items():
        assert torch.equal(weight, second.ema_weights[name]), name
    timeless = [[{**row, "elapsed_seconds": 0.0} for row in read_metrics(run)] for run in (one, other)]
    assert timeless[0] == timeless[1]


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path: Path, tiny_config: TrainConfig) -> None:
    config = longer(tiny_config, tmp_path)
    code, _ = stopped_in_an_epoch(config, tmp_path / "killed", by=signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert 1 <= load_checkpoint(tmp_path / "killed" / "last.pt").epoch < config.optim.epochs
    fit(config, tmp_path / "killed", show_progress=False)
    fit(config, tmp_path / "whole", show_progress=False)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, tiny_config: TrainConfig) -> None:
    code, said = stopped_in_an_epoch(longer(tiny_config, tmp_path, epochs=50), tmp_path / "run", by=signal.SIGINT)
    assert code == 130
    assert said.endswith(f"stopped; the last finished epoch is in {tmp_path / 'run'}, the same command goes on\n")


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, tiny_config: TrainConfig) -> None:
    in_namespace = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*in_namespace, "true"], check=False).returncode != 0:
        pytest.skip("needs a mount namespace for a small disk")
    small = tmp_path / "small"
    small.mkdir()
    fit(tiny_config, tmp_path / "whole", show_progress=False)
    checkpoint_bytes = (tmp_path / "whole" / "last.pt").stat().st_size
    train = " ".join(command(tiny_config, tmp_path / "run")).replace(str(tmp_path / "run"), str(small / "run"))
    # Room for two and a half checkpoints: those of the first epoch fit, the second epoch's are written beside them.
    script = f"""
        mount -t tmpfs -o size={int(2.5 * checkpoint_bytes)} none {small}
        {train}; echo "code $?"
        cp -r {small}/run {tmp_path}/full
        mount -o remount,size=100m {small}
        {train}; echo "code $?"
        cp -r {small}/run {tmp_path}/more
    """
    ran = subprocess.run(
        [*in_namespace, "sh", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False
    )
    assert [line for line in ran.stdout.splitlines() if line.startswith("code")] == ["code 1", "code 0"], ran.stderr
    assert "cannot be written: No space left on device; the last good checkpoint is kept: make room" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert load_checkpoint(tmp_path / "full" / "last.pt").epoch == 1
    assert not [*(tmp_path / "full").glob(".*.part")]
    assert_same_end(tmp_path / "whole", tmp_path / "more")
