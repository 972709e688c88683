"""A pupil learns what its teacher knows, also where the labels say something else."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import ModelManifest, save_manifest, sha256_of
from emostream.errors import ConfigError, ManifestError, ModelUnavailableError
from tests.training.conftest import LearntRun
from tests.training.made import made_faces, save_npz
from tests.training.tiny_nets import tiny_graph
from training.config import DistillConfig, TrainConfig
from training.loop.checkpoint import load_checkpoint
from training.loop.distill import Teacher, Teachers, load_teachers, taught_targets
from training.loop.run import fit
from training.loop.state import LAST_NAME
from training.loop.train_set import prepare
from training.measure.inference import OnnxModel
from training.nets.build import build_model


@pytest.fixture(scope="module")
def mislabelled(learnt_run: LearntRun, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """The settings of the teacher's run, for pictures whose labels say nothing about them."""
    faces = made_faces(128)
    wrong = np.random.default_rng(0).permutation(len(faces))
    wrongly = dataclasses.replace(faces, labels=faces.labels[wrong], votes=faces.votes[wrong])  # type: ignore[index]
    path = save_npz(wrongly, tmp_path_factory.mktemp("mislabelled") / "training.npz")
    return dataclasses.replace(learnt_run.config, data=dataclasses.replace(learnt_run.config.data, path=str(path)))


@pytest.mark.slow
def test_wrong_labels_teach_nothing(tmp_path: Path, mislabelled: TrainConfig) -> None:
    alone = fit(mislabelled, tmp_path / "alone", show_progress=False)
    assert alone["accuracy"] < 0.35
    assert alone["ferplus_accuracy"] < 0.35


@pytest.mark.slow
@pytest.mark.parametrize("num_views", [0, 4], ids=["each-batch", "once"])
def test_a_pupil_learns_from_its_teacher_in_spite_of_wrong_labels(
    tmp_path: Path, learnt_run: LearntRun, mislabelled: TrainConfig, num_views: int
) -> None:
    distill = DistillConfig(teachers=(str(learnt_run.folder / LAST_NAME),), weight=1.0, num_views=num_views)
    pupil = fit(dataclasses.replace(mislabelled, distill=distill), tmp_path / "pupil", show_progress=False)
    assert pupil["accuracy"] > 0.5
    assert pupil["ferplus_accuracy"] > 0.5


def test_several_teachers_give_their_mean_answer(tiny_config: TrainConfig) -> None:
    models = [build_model(tiny_config.model) for _ in range(2)]
    batch = torch.rand(3, 1, 64, 64) * 255
    teachers = [Teacher(model, 64) for model in models]
    both = Teachers(teachers).targets(batch, contextlib.nullcontext())
    each = [Teachers([teacher]).targets(batch, contextlib.nullcontext()) for teacher in teachers]
    torch.testing.assert_close(both.ferplus, (each[0].ferplus + each[1].ferplus) / 2)
    torch.testing.assert_close(both.fer2013, (each[0].fer2013 + each[1].fer2013) / 2)
    torch.testing.assert_close(both.ferplus.sum(dim=1), torch.ones(3))


def test_a_teacher_sees_crops_of_the_side_it_knows() -> None:
    class Side(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            sides.append(batch.shape[-1])
            return torch.zeros(len(batch), 7), torch.zeros(len(batch), 7)

    sides: list[int] = []
    teachers = Teachers([Teacher(Side(), 64), Teacher(Side(), 48)])
    teachers.targets(torch.zeros(2, 1, 48, 48), contextlib.nullcontext())
    assert sides == [64, 48]


def test_labels_and_answers_are_mixed_by_weight(tiny_config: TrainConfig) -> None:
    data = prepare(made_faces(14))
    targets = dataclasses.replace(data.targets, ferplus_weight=torch.tensor([0.0] + [1.0] * 13))
    teachers = Teachers([Teacher(build_model(tiny_config.model), 64)])
    distill = DistillConfig(weight=0.25, num_views=2)
    mixed = taught_targets(teachers, data.crops, targets, dataclasses.replace(tiny_config, distill=distill))
    for rows in (mixed.ferplus, mixed.fer2013):
        torch.testing.assert_close(rows.sum(dim=1), torch.ones(14))
    assert torch.equal(mixed.fer2013.argmax(dim=1), data.labels)
    assert mixed.fer2013.max() < 1
    assert mixed.ferplus_weight.tolist() == [0.25] + [1.0] * 13


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    assert load_teachers(DistillConfig()) is None
    for name in ("nowhere.pt", "nowhere.onnx"):
        with pytest.raises(ModelUnavailableError, match="nowhere"):
            load_teachers(DistillConfig(teachers=(str(tmp_path / name),)))


def save_teacher(path: Path, *, labels: tuple[str, ...] = EMOTIONS) -> ModelManifest:
    """A small exported model with its manifest."""
    onnx.save(tiny_graph(), path)
    manifest = ModelManifest(
        name="teacher",
        version="1",
        file=path.name,
        sha256=sha256_of(path),
        labels=labels,
        input_size_pixels=64,
        max_batch_size=2,
        architecture="made",
        training_data="none",
    )
    save_manifest(manifest, model_path=path)
    return manifest


def test_an_exported_model_teaches_what_it_answers(tmp_path: Path) -> None:
    path = tmp_path / "teacher.onnx"
    manifest = save_teacher(path)
    config = DistillConfig(teachers=(str(path),), teacher_sha256=(manifest.sha256,))
    teachers = load_teachers(config)
    assert teachers is not None
    crops = prepare(made_faces(5)).crops
    taught = teachers.targets(crops[:, None].to(torch.float32), contextlib.nullcontext())
    answers = OnnxModel(path, num_threads=1).classify(crops.numpy())
    torch.testing.assert_close(taught.ferplus, torch.from_numpy(answers.ferplus))
    torch.testing.assert_close(taught.fer2013, torch.from_numpy(answers.fer2013))


def test_another_file_than_the_settings_name_does_not_teach(tmp_path: Path) -> None:
    path = tmp_path / "teacher.onnx"
    save_teacher(path)
    with pytest.raises(ManifestError):
        load_teachers(DistillConfig(teachers=(str(path),), teacher_sha256=("0" * 64,)))
    with pytest.raises(ConfigError, match=r"1.* 2"):
        load_teachers(DistillConfig(teachers=(str(path),), teacher_sha256=("0" * 64,) * 2))


def test_a_model_of_other_classes_does_not_teach(tmp_path: Path) -> None:
    path = tmp_path / "teacher.onnx"
    save_teacher(path, labels=tuple(reversed(EMOTIONS)))
    with pytest.raises(ManifestError, match="neutral, surprise"):
        load_teachers(DistillConfig(teachers=(str(path),)))


@pytest.mark.parametrize("num_views", [0, 1], ids=["each-batch", "once"])
def test_other_votes_are_learned_beside_a_teacher(tmp_path: Path, tiny_config: TrainConfig, num_views: int) -> None:
    path = tmp_path / "teacher.onnx"
    save_teacher(path)
    config = dataclasses.replace(
        tiny_config,
        model=dataclasses.replace(tiny_config.model, other_votes=True),
        distill=DistillConfig(teachers=(str(path),), weight=0.5, num_views=num_views),
    )
    fit(config, tmp_path / "run", show_progress=False)
    weights = load_checkpoint(tmp_path / "run" / LAST_NAME).weights["ferplus_head.weight"]
    assert weights.shape[0] == 10


def test_a_teacher_leaves_other_votes_as_they_are(tiny_config: TrainConfig) -> None:
    data = prepare(made_faces(14), other_votes=True)
    halved = dataclasses.replace(data.targets, ferplus=data.targets.ferplus / 2)
    halved.ferplus[:, 9] = 0.5
    teachers = Teachers([Teacher(build_model(tiny_config.model), 64)])
    config = dataclasses.replace(tiny_config, distill=DistillConfig(weight=0.25, num_views=1))
    mixed = taught_targets(teachers, data.crops, halved, config)
    torch.testing.assert_close(mixed.ferplus.sum(dim=1), torch.ones(14))
    torch.testing.assert_close(mixed.ferplus[:, 7:], halved.ferplus[:, 7:])
