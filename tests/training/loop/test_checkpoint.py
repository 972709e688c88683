"""Checkpoints: what is written reads back, and a failed write leaves the old one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emostream.errors import EmostreamError, ManifestError, ModelUnavailableError
from training.config import ModelConfig, TrainConfig
from training.loop.checkpoint import Checkpoint, load_checkpoint, load_weights, save_checkpoint
from training.nets.build import build_model


def made_checkpoint() -> Checkpoint:
    weights = {"a": torch.arange(3.0)}
    return Checkpoint(TrainConfig(name="made"), 2, 10, 1.5, weights, weights, {"state": {}}, {"accuracy": 0.5}, 0.5)


def test_reads_back(tmp_path: Path) -> None:
    save_checkpoint(made_checkpoint(), tmp_path / "last.pt")
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert (loaded.config, loaded.epoch, loaded.step) == (TrainConfig(name="made"), 2, 10)
    assert torch.equal(loaded.weights["a"], torch.arange(3.0))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EmostreamError, match=r"last\.pt"):
        save_checkpoint(made_checkpoint(), tmp_path / "file" / "last.pt")


def test_a_checkpoint_from_before_a_setting_existed_gets_its_default(tmp_path: Path) -> None:
    save_checkpoint(made_checkpoint(), tmp_path / "last.pt")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    for section in ("balance", "validation", "transfer"):
        del content["config"][section]
    content["config"]["device"] = "cpu"
    del content["best_epoch"], content["scaler"]
    torch.save(content, tmp_path / "old.pt")
    loaded = load_checkpoint(tmp_path / "old.pt")
    assert loaded.config == TrainConfig(name="made", device="cpu")
    assert (loaded.best_epoch, loaded.scaler) == (2, {})


def test_a_checkpoint_of_a_newer_version_is_named(tmp_path: Path) -> None:
    save_checkpoint(made_checkpoint(), tmp_path / "last.pt")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    content["config"]["telepathy"] = True
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(ManifestError, match="telepathy"):
        load_checkpoint(tmp_path / "last.pt")


def test_weights_of_another_net_are_refused_and_change_nothing() -> None:
    model = build_model(ModelConfig(widths=(4, 8), depths=(1, 1)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wider = build_model(ModelConfig(widths=(4, 16), depths=(1, 1))).state_dict()
    with pytest.raises(ManifestError) as caught:
        load_weights(model, wider, source=Path("runs/wide/last.pt"))
    message = "checkpoint runs/wide/last.pt is of another architecture: expected blocks.1.conv1.weight of shape"
    assert str(caught.value).startswith(f"{message} [8, 4, 3, 3], got [16, 4, 3, 3]; ")
    deeper = build_model(ModelConfig(widths=(4, 8), depths=(1, 2))).state_dict()
    with pytest.raises(ManifestError, match=r"blocks\.2\.conv1\.weight"):
        load_weights(model, deeper, source=Path("deep.pt"))
    with pytest.raises(ManifestError, match=r"blocks\.1\.conv1\.weight"):
        shallow = build_model(ModelConfig(widths=(4,), depths=(1,))).state_dict()
        load_weights(model, {**shallow, "x": torch.zeros(1)}, source=Path("shallow.pt"))
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError):
        load_checkpoint(tmp_path / "last.pt")
    (tmp_path / "last.pt").write_bytes(b"nonsense")
    with pytest.raises(ManifestError):
        load_checkpoint(tmp_path / "last.pt")
    torch.save({"format_version": 99}, tmp_path / "last.pt")
    with pytest.raises(ManifestError):
        load_checkpoint(tmp_path / "last.pt")
