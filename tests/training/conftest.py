"""What the training tests share, and what they need."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.training.made import made_faces, save_npz
from training.config import TrainConfig, load_config

# The service installs without what training needs; there is nothing of training to test then.
_NEEDED = ("torch", "torchvision", "sklearn", "matplotlib", "tqdm")
collect_ignore_glob = [] if all(find_spec(name) for name in _NEEDED) else ["test_*.py"]


@pytest.fixture
def tiny_config(tmp_path: Path) -> TrainConfig:
    """A net of 3,000 values, 3 epochs of 4 steps on made faces that lie in `tmp_path`."""
    training = save_npz(made_faces(128), tmp_path / "training.npz")
    validation = save_npz(made_faces(70, seed=1), tmp_path / "validation.npz")
    return load_config(
        None,
        overrides=(
            f"data.path={training}",
            f"data.validation_path={validation}",
            "data.train_split=null",
            "data.validation_split=null",
            "model.widths=[8, 16]",
            "model.depths=[1, 1]",
            "model.dropout=0.0",
            "augment.erase_probability=0",
            "augment.low_resolution_probability=0",
            "augment.mixup_probability=0",
            "optim.epochs=3",
            "optim.batch_size=32",
            "optim.ema_decay=0.5",
            "precision=fp32",
            "num_threads=1",
        ),
    )
