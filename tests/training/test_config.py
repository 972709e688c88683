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
    ("override", "setting", "parts"),
    [
        ("optim.epoch=3", "optim.epoch", ("unknown", "epochs", "batch_size")),
        ("epochs=3", "epochs", ("unknown", "optim", "seed")),
        ("optim.epochs=many", "optim.epochs", ("integer", "'many'")),
        ("optim.epochs=true", "optim.epochs", ("integer", "True")),
        ("optim.epochs=3.5", "optim.epochs", ("integer", "3.5")),
        ("optim.epochs='3'", "optim.epochs", ("integer", "'3'")),
        ("seed.x=3", "seed", ("integer", "{'x': 3}")),
        ("optim.peak_learning_rate=fast", "optim.peak_learning_rate", ("number", "'fast'")),
        ("optim.peak_learning_rate=true", "optim.peak_learning_rate", ("number", "True")),
        ("optim.peak_learning_rate=.nan", "optim.peak_learning_rate", ("number", "nan")),
        ("deterministic=1", "deterministic", ("boolean", "1")),
        ("name=3", "name", ("string", "3")),
        ("precision=fp8", "precision", ("'fp32'", "'bf16'", "'fp8'")),
        ("model.widths=8", "model.widths", ("list", "8")),
        ("model.widths=[8, x]", "model.widths.1", ("integer", "'x'")),
        ("optim=3", "optim", ("section", "3")),
        ("optim=", "optim", ("section", "None")),
        ("optim.epochs=0", "optim.epochs", ("1", "got 0")),
        ("optim.time_budget_minutes=0", "optim.time_budget_minutes", ("greater than 0", "got 0")),
        ("validation.patience_epochs=0", "validation.patience_epochs", ("1", "got 0")),
        ("validation.metric=f1", "validation.metric", ("'score'", "'accuracy'", "'f1'")),
        ("balance.beta=1", "balance.beta", ("less than 1", "got 1")),
        ("distill.weight=2", "distill.weight", ("1", "got 2")),
        ("transfer.unfreeze_at=[0.3, 0.1]", "transfer.unfreeze_at", ("rising", "[0.3, 0.1]")),
        ("device=tpu", "device", ("'auto'", "'cuda'", "'tpu'")),
        ("epochs", "'epochs'", ("section.key=value",)),
        ("seed.x=[", "seed.x", ("YAML", "'['")),
    ],
)
def test_a_mistake_is_named_with_what_was_expected_and_given(
    override: str, setting: str, parts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides=(override,))
    assert [part for part in (setting, *parts) if part not in str(caught.value)] == []


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides=("optim.epochs=0", "augment.noise_probability=7", "data.folder=x"))
    assert [
        name for name in ("optim.epochs", "augment.noise_probability", "data.folder") if name not in str(caught.value)
    ] == []


@pytest.mark.parametrize(
    ("override", "value"), [("optim.weight_decay=1e-3", 1e-3), ("optim.weight_decay=1", 1.0), ("optim.momentum=0", 0.0)]
)
def test_yaml_forms_of_a_number_are_taken(override: str, value: float) -> None:
    key = override.partition("=")[0].split(".")[1]
    found = getattr(load_config(None, overrides=(override,)).optim, key)
    assert (found, type(found)) == (value, float)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_config(tmp_path / "missing.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="list"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "bad.yaml")
