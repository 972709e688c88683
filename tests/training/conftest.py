"""What the training tests share, and what they need."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.training.made import tiny_config_in
from training.config import TrainConfig

# The service installs without what training needs; there is nothing of training to test then.
_NEEDED = ("torch", "torchvision", "sklearn", "matplotlib", "tqdm")
collect_ignore_glob = [] if all(find_spec(name) for name in _NEEDED) else ["test_*.py"]


@pytest.fixture
def tiny_config(tmp_path: Path) -> TrainConfig:
    """A net of 3,000 values, 3 epochs of 4 steps on made faces that lie in `tmp_path`."""
    return tiny_config_in(tmp_path)


@dataclass(frozen=True)
class LearntRun:
    """A finished run of 12 epochs, enough to learn the made faces; a test only reads it.

    Attributes:
        folder: of the run.
        config: it was made with.
        metrics: that `fit` returned.
    """

    folder: Path
    config: TrainConfig
    metrics: dict[str, float]


@pytest.fixture(scope="session")
def learnt_run(tmp_path_factory: pytest.TempPathFactory) -> LearntRun:
    """Trained once for all tests that need a net that has learnt."""
    from training.loop.run import fit  # needs what is not installed with the service

    folder = tmp_path_factory.mktemp("learnt")
    config = tiny_config_in(folder)
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, epochs=12))
    return LearntRun(folder / "run", config, fit(config, folder / "run", show_progress=False))
