"""A pupil learns what its teacher knows, also where the labels say something else."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from emostream.errors import ModelUnavailableError
from tests.training.made import made_faces, save_npz
from training.config import DistillConfig, TrainConfig
from training.distill import Teachers, load_teachers
from training.model import build_model
from training.train import LAST_NAME, fit


def test_a_pupil_learns_from_its_teacher_in_spite_of_wrong_labels(tmp_path: Path, tiny_config: TrainConfig) -> None:
    optim = dataclasses.replace(tiny_config.optim, epochs=12)
    config = dataclasses.replace(tiny_config, optim=optim)
    fit(config, tmp_path / "teacher", show_progress=False)

    faces = made_faces(128)
    wrong = np.random.default_rng(0).permutation(len(faces))
    mislabelled = dataclasses.replace(faces, labels=faces.labels[wrong], votes=faces.votes[wrong])  # type: ignore[index]
    data = dataclasses.replace(config.data, path=str(save_npz(mislabelled, tmp_path / "mislabelled.npz")))
    untaught = dataclasses.replace(config, data=data)
    distill = DistillConfig(teachers=(str(tmp_path / "teacher" / LAST_NAME),), weight=1.0)
    taught = dataclasses.replace(untaught, distill=distill)

    alone = fit(untaught, tmp_path / "alone", show_progress=False)
    pupil = fit(taught, tmp_path / "pupil", show_progress=False)
    assert alone["accuracy"] < 0.35 < 0.5 < pupil["accuracy"]
    assert alone["ferplus_accuracy"] < 0.35 < 0.5 < pupil["ferplus_accuracy"]


def test_several_teachers_give_their_mean_answer(tiny_config: TrainConfig) -> None:
    models = [build_model(tiny_config.model) for _ in range(2)]
    batch = torch.rand(3, 1, 64, 64) * 255
    both = Teachers(models).targets(batch, contextlib.nullcontext())
    each = [Teachers([model]).targets(batch, contextlib.nullcontext()) for model in models]
    torch.testing.assert_close(both.ferplus, (each[0].ferplus + each[1].ferplus) / 2)
    torch.testing.assert_close(both.fer2013, (each[0].fer2013 + each[1].fer2013) / 2)
    torch.testing.assert_close(both.ferplus.sum(dim=1), torch.ones(3))


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    assert load_teachers(()) is None
    with pytest.raises(ModelUnavailableError, match="nowhere"):
        load_teachers([str(tmp_path / "nowhere.pt")])
