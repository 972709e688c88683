"""Settings: precedence, types, messages, and that what is saved reads back the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from emostream.errors import ConfigError
from training.config import TrainConfig, load_config, save_config

CONFIGS = sorted((Path(__file__).parents[2] / "training" / "configs").glob("*.yaml"))
# What settings are drawn from; test_search_space.py reads it.
CONFIGS = [path for path in CONFIGS if path.name != "search.yaml"]


def test_override_wins_over_file_wins_over_default(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("seed: 3\noptim:\n  epochs: 7\n  weight_decay: 1e-3\n", encoding="utf-8")
    config = load_config(path, overrides=("optim.epochs=9", "model.widths=[4, 8]"))
    assert (config.seed, config.optim.epochs, config.optim.weight_decay) == (3, 9, 1e-3)
    assert config.model.widths == (4, 8)
    assert config.optim.momentum == TrainConfig().optim.momentum


def test_saved_settings_read_back(tmp_path: Path) -> None:
    config = load_config(None, overrides=("optim.time_budget_minutes=5", "data.train_split=null"))
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_committed_settings_are_valid(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.epoch=3", "unknown setting optim.epoch; known here: epochs"),
        ("optim.epochs=many", "optim.epochs must be int, got 'many'"),
        ("optim.epochs=true", "optim.epochs must be int, got True"),
        ("optim.peak_learning_rate=fast", "must be a number, got 'fast'"),
        ("precision=fp8", "precision must be one of fp32, bf16"),
        ("model.widths=8", "model.widths must be a list, got 8"),
        ("optim=3", "optim is a section, got 3"),
        ("optim.epochs=0", "setting optim.epochs must be 1 or more, got 0"),
        ("optim.time_budget_minutes=0", "optim.time_budget_minutes must be more than 0, got 0.0"),
        ("validation.patience_epochs=0", "validation.patience_epochs must be 1 or more, got 0"),
        ("validation.metric=f1", "validation.metric must be one of score, accuracy"),
        ("balance.beta=1", "balance.beta must be 0 or more and less than 1, got 1.0"),
        ("distill.weight=2", "distill.weight must be 0 to 1, got 2.0"),
        ("device=tpu", "device must be one of auto, cpu, cuda, got 'tpu'"),
        ("epochs", "of the form section.key=value"),
        ("seed.x=[", "not a YAML value"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides=(override,))
    assert message in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "missing.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="must hold a mapping, got list"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(tmp_path / "bad.yaml")
