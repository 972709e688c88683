"""Search files: what is read, what is refused, and settings with drawn values in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emostream.errors import ConfigError
from training.config import TrainConfig, load_config
from training.search.space import Draw, load_space, with_settings

COMMITTED = Path(__file__).parents[3] / "training" / "configs" / "search.yaml"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_trials_and_draws(tmp_path: Path) -> None:
    text = """
        trial: {optim.epochs: 2}
        space:
          optim.weight_decay: {log_uniform: [1e-4, 1e-2]}
          model.widths: {choice: [[4, 8], [8, 16]]}
    """
    space = load_space(written(tmp_path / "space.yaml", text), load_config(None, overrides=("model.depths=[1, 1]",)))
    assert space.trial == {"optim.epochs": 2}
    assert space.draws["optim.weight_decay"] == Draw("log_uniform", (1e-4, 1e-2))
    assert space.draws["model.widths"] == Draw("choice", ([4, 8], [8, 16]))


def test_settings_are_replaced_by_dotted_key() -> None:
    config = with_settings(TrainConfig(), {"model.widths": [4, 8], "seed": 3})
    assert (config.model.widths, config.seed) == ((4, 8), 3)
    assert config.optim == TrainConfig().optim


def test_the_committed_space_fits_the_committed_settings() -> None:
    space = load_space(COMMITTED, load_config(COMMITTED.parent / "first.yaml"))
    searched = {key.split(".")[0] for key in space.draws}
    assert searched == {"optim", "augment", "distill", "model"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must hold a section `space` with at least one setting"),
        ("space: {}", "must hold a section `space` with at least one setting"),
        ("space: {seed: {choice: [1]}}\nspaces: {}", "unknown section spaces"),
        ("space: {optim.speed: {choice: [1]}}", "unknown setting optim.speed; known there: epochs"),
        ("space: {seed.x: {choice: [1]}}", "setting seed.x: seed is a value, not a section"),
        ("space: {seed: 3}", "space.seed: expected one of uniform, log_uniform, choice with its values, got 3"),
        ("space: {seed: {normal: [0, 1]}}", "expected one of uniform, log_uniform, choice"),
        ("space: {optim.momentum: {uniform: 0.9}}", "expected a list behind uniform, got 0.9"),
        ("space: {optim.momentum: {uniform: [0.9]}}", r"expected [low, high] behind uniform, got [0.9]"),
        ("space: {optim.momentum: {uniform: [0.9, 0.1]}}", "expected a rising range, got [0.9, 0.1]"),
        ("space: {optim.weight_decay: {log_uniform: [0, 0.1]}}", "expected a rising range above 0, got [0, 0.1]"),
        ("space: {optim.label_smoothing: {uniform: [0, 1]}}", "optim.label_smoothing"),
        ("trial: {optim.epochs: 0}\nspace: {seed: {choice: [1]}}", "optim.epochs"),
        ("a: [", "is not YAML"),
    ],
)
def test_mistakes_are_named_before_anything_runs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_space(written(tmp_path / "space.yaml", text), TrainConfig())
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_space(tmp_path / "none.yaml", TrainConfig())
