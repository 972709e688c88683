"""A small real search: trials on Ray Tune, an interruption, and settings that train."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.loop.test_distributed import config_for_two, start_command
from training.config import TrainConfig, load_config, save_config
from training.loop.curves import read_metrics
from training.train import main as train_main

pytest.importorskip("ray")
REPOSITORY = Path(__file__).parents[3]

# One of the widths is a mistake that only building the net finds: its trials fail and the search goes on.
SPACE = """
trial: {optim.epochs: 3}
space:
  optim.peak_learning_rate: {log_uniform: [0.02, 0.2]}
  optim.label_smoothing: {uniform: [0.0, 0.2]}
  model.widths: {choice: [[8, 16], [8, 16, 16]]}
"""


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training.search", "--config", str(folder / "settings.yaml")]
    command += ["--space", str(folder / "space.yaml"), "--samples", "4", "--out", str(folder / "out")]
    return start_command(command)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_a_search_that_was_interrupted_finds_settings_that_train(tmp_path: Path, tiny_config: TrainConfig) -> None:
    base = config_for_two(tiny_config, tmp_path, epochs=5)
    save_config(base, tmp_path / "settings.yaml")
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")

    with start(tmp_path) as child:
        while not [*(tmp_path / "out" / "trials").glob("*/last.pt")]:
            assert child.poll() is None, child.communicate()
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert child.returncode == 130, err
    assert err.endswith("the same command goes on\n")

    with start(tmp_path) as child:
        out, err = child.communicate()
    assert child.returncode == 0, err
    assert "4 trials are over" in err
    assert "Traceback" not in err
    assert "of 4 trials" in out
    trials = sorted((tmp_path / "out" / "trials").iterdir())
    assert len(trials) == 4
    for trial in trials:
        epochs = [row["epoch"] for row in read_metrics(trial)]
        assert epochs == list(range(1, len(epochs) + 1))
    lines = (tmp_path / "out" / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5

    best = load_config(tmp_path / "out" / "best.yaml")
    assert best.optim.epochs == base.optim.epochs
    assert 0.02 <= best.optim.peak_learning_rate <= 0.2
    assert best.model.widths == (8, 16)
    arguments = ["--config", str(tmp_path / "out" / "best.yaml"), "--run", str(tmp_path / "best"), "--quiet"]
    assert train_main(arguments) == 0
    assert read_metrics(tmp_path / "best")[-1]["accuracy"] > 0.9
