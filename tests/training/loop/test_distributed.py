"""Two workers train one net on this machine: real Ray, real process groups, a worker that dies, an interruption."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from emostream.errors import ConfigError
from tests.training.made import made_faces, save_npz
from training.config import TrainConfig, TransferConfig, save_config
from training.loop.checkpoint import load_checkpoint
from training.loop.curves import read_metrics
from training.loop.process_group import World
from training.loop.run import fit

pytest.importorskip("ray")
REPOSITORY = Path(__file__).parents[3]


def config_for_two(config: TrainConfig, folder: Path, *, epochs: int) -> TrainConfig:
    """Epochs of 64 steps on 1,024 crops, that a tiny net can learn from."""
    data = dataclasses.replace(config.data, path=str(save_npz(made_faces(1024), folder / "many.npz")))
    optim = dataclasses.replace(config.optim, epochs=epochs, batch_size=16)
    return dataclasses.replace(config, data=data, optim=optim)


def start(config: TrainConfig, run: Path) -> subprocess.Popen[str]:
    settings = run.parent / "settings.yaml"
    save_config(config, settings)
    command = [sys.executable, "-m", "training.train", "--config", str(settings), "--run", str(run), "--workers", "2"]
    return start_command(command)


def start_command(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(run: Path, child: subprocess.Popen[str]) -> None:
    while not (run / "last.pt").is_file():
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)


def workers_of(child: subprocess.Popen[str]) -> list[psutil.Process]:
    processes = psutil.Process(child.pid).children(recursive=True)
    return [process for process in processes if "RayTrainWorker" in " ".join(process.cmdline())]


def test_a_batch_must_be_divisible_among_the_workers(tmp_path: Path, tiny_config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 32.* 3 "):
        fit(tiny_config, tmp_path / "run", world=World(0, 3))


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_two_workers_learn_whatever_happens_to_them(tmp_path: Path, tiny_config: TrainConfig) -> None:
    config = config_for_two(tiny_config, tmp_path, epochs=4)
    # Both ask something of the averaging of gradients: not to happen once, and not to wait for those that do not come.
    config = dataclasses.replace(
        config,
        optim=dataclasses.replace(config.optim, sam_radius=0.02),
        transfer=TransferConfig(unfreeze_at=(0.1, 0.3)),
    )

    # One of the workers is killed in an epoch: Ray starts both again, and they go on after the last finished epoch.
    with start(config, tmp_path / "killed") as child:
        wait_for_checkpoint(tmp_path / "killed", child)
        first, second = workers_of(child)
        os.kill(max(first.pid, second.pid), signal.SIGKILL)
        assert load_checkpoint(tmp_path / "killed" / "last.pt").epoch < 4
        out, err = child.communicate()
    assert child.returncode == 0, err
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")] == ["1", "2", "3", "4"]
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert names == {"config.yaml", "metrics.csv", "curves.png", "last.pt", "best.pt", "ray"}
    rows = read_metrics(tmp_path / "killed")
    assert rows[-1]["accuracy"] > 0.5

    # The whole run is interrupted and started again.
    with start(config, tmp_path / "stopped") as child:
        wait_for_checkpoint(tmp_path / "stopped", child)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert child.returncode == 130, err
    assert err.endswith(f"the last finished epoch is in {tmp_path / 'stopped'}, the same command goes on\n")
    assert load_checkpoint(tmp_path / "stopped" / "last.pt").epoch < 4
    with start(config, tmp_path / "stopped") as child:
        _, err = child.communicate()
    assert child.returncode == 0, err

    # However they were disturbed, both ended with the same weights.
    one, other = (load_checkpoint(tmp_path / run / "last.pt") for run in ("killed", "stopped"))
    assert one.step == other.step == 4 * 64
    for kind in ("weights", "ema_weights"):
        for name, weight in getattr(one, kind).items():
            assert torch.equal(weight, getattr(other, kind)[name]), f"{kind} {name}"

    # And one process can take up the run of two: nothing is left to do, and it says the same.
    assert fit(config, tmp_path / "killed", show_progress=False) == pytest.approx(
        {name: rows[-1][name] for name in ("accuracy", "ferplus_accuracy", "fer2013_loss", "ferplus_loss")}
    )


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_an_error_is_reported_once_and_not_retried(tmp_path: Path, tiny_config: TrainConfig) -> None:
    missing = dataclasses.replace(tiny_config.data, path=str(tmp_path / "missing"))
    with start(dataclasses.replace(tiny_config, data=missing), tmp_path / "run") as child:
        out, err = child.communicate()
    assert (child.returncode, out) == (3, "")
    assert err == f"error: data {tmp_path / 'missing'} does not exist\n"
