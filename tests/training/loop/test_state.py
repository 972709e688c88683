"""How a run starts: from nothing, from another run, and not from what does not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from emostream.errors import ManifestError
from training.config import TrainConfig
from training.loop.checkpoint import load_checkpoint, save_checkpoint
from training.loop.state import open_run_folder, save_state, start_or_resume, update_average


def with_widths(config: TrainConfig, *widths: int, **changes: object) -> TrainConfig:
    model = dataclasses.replace(config.model, widths=widths)
    return dataclasses.replace(config, model=model, **changes)  # type: ignore[arg-type]


def test_what_was_saved_is_taken_up(tmp_path: Path, tiny_config: TrainConfig) -> None:
    state = start_or_resume(tiny_config, tmp_path)
    state.epoch, state.step, state.elapsed_seconds = 2, 8, 1.5
    state.best_score, state.best_epoch, state.metrics = 0.4, 1, {"accuracy": 0.4}
    open_run_folder(tiny_config, tmp_path)
    save_state(state, tiny_config, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"config.yaml", "last.pt"}
    assert not (tmp_path / "best.pt").exists()
    again = start_or_resume(tiny_config, tmp_path)
    assert (again.epoch, again.step, again.elapsed_seconds) == (2, 8, 1.5)
    assert (again.best_score, again.best_epoch, again.metrics) == (0.4, 1, {"accuracy": 0.4})
    for name, weight in state.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])


def test_the_best_epoch_is_saved_twice(tmp_path: Path, tiny_config: TrainConfig) -> None:
    state = start_or_resume(tiny_config, tmp_path)
    state.epoch = state.best_epoch = 3
    save_state(state, tiny_config, tmp_path)
    assert load_checkpoint(tmp_path / "best.pt").epoch == 3


def test_a_start_from_another_architecture_names_the_setting(tmp_path: Path, tiny_config: TrainConfig) -> None:
    state = start_or_resume(tiny_config, tmp_path / "small")
    save_state(state, tiny_config, tmp_path / "small")
    path = tmp_path / "small" / "last.pt"
    wider = with_widths(tiny_config, 8, 32, initial_checkpoint=str(path))
    with pytest.raises(ManifestError) as caught:
        start_or_resume(wider, tmp_path / "wide")
    assert f"{path} is of another architecture: model.widths is [8, 16] there and [8, 32] here" in str(caught.value)


def test_a_damaged_run_folder_is_named(tmp_path: Path, tiny_config: TrainConfig) -> None:
    state = start_or_resume(tiny_config, tmp_path)
    save_state(state, tiny_config, tmp_path)
    checkpoint = load_checkpoint(tmp_path / "last.pt")
    cut = {name: value for name, value in checkpoint.weights.items() if not name.startswith("stem")}
    save_checkpoint(dataclasses.replace(checkpoint, weights=cut), tmp_path / "last.pt")
    with pytest.raises(ManifestError, match=r"stem\.0\.weight"):
        start_or_resume(tiny_config, tmp_path)


def test_weights_alone_are_nothing_to_go_on_from(tmp_path: Path, tiny_config: TrainConfig) -> None:
    state = start_or_resume(tiny_config, tmp_path)
    save_state(state, tiny_config, tmp_path)
    checkpoint = load_checkpoint(tmp_path / "last.pt")
    save_checkpoint(dataclasses.replace(checkpoint, optimizer={}), tmp_path / "last.pt")
    with pytest.raises(ManifestError):
        start_or_resume(tiny_config, tmp_path)


def test_the_average_moves_towards_the_weights_and_copies_counters() -> None:
    model, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        model.weight.fill_(3.0)
    model.state_dict()["num_batches_tracked"].fill_(7)
    update_average(average, model, decay=0.75)
    assert average.weight.item() == pytest.approx(1.5)
    assert average.state_dict()["num_batches_tracked"].item() == 7
