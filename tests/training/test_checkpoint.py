"""Checkpoints: what is written reads back, and a failed write leaves the old one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from emostream.errors import ManifestError, ModelUnavailableError
from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.config import TrainConfig


def made_checkpoint() -> Checkpoint:
    weights = {"a": torch.arange(3.0)}
    return Checkpoint(TrainConfig(name="made"), 2, 10, 1.5, weights, weights, {"state": {}}, {"accuracy": 0.5}, 0.5)


def test_reads_back(tmp_path: Path) -> None:
    save_checkpoint(made_checkpoint(), tmp_path / "last.pt")
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert (loaded.config, loaded.epoch, loaded.step) == (TrainConfig(name="made"), 2, 10)
    assert torch.equal(loaded.weights["a"], torch.arange(3.0))


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(made_checkpoint(), tmp_path / "last.pt")

    def write_half(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(dataclasses.replace(made_checkpoint(), epoch=3), tmp_path / "last.pt")
    assert load_checkpoint(tmp_path / "last.pt").epoch == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        load_checkpoint(tmp_path / "last.pt")
    (tmp_path / "last.pt").write_bytes(b"nonsense")
    with pytest.raises(ManifestError, match="is damaged or no checkpoint"):
        load_checkpoint(tmp_path / "last.pt")
    torch.save({"format_version": 99}, tmp_path / "last.pt")
    with pytest.raises(ManifestError, match="is not of format 1"):
        load_checkpoint(tmp_path / "last.pt")
