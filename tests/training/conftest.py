"""What the training tests share, and what they need."""

from __future__ import annotations

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
