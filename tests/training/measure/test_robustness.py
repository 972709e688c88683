"""Robustness of a model whose answers are known: it looks at the brightness alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from emostream.errors import ConfigError
from tests.training.made import made_faces, save_npz
from tests.training.test_evaluate import save_brightness_model
from training.measure.corruptions import CORRUPTIONS
from training.measure.inference import OnnxModel
from training.measure.robustness import main, measure_robustness, spread_subset
from training.measure.robustness_figures import Accuracy, mean_accuracy


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    return save_brightness_model(tmp_path / "model.onnx")


def test_constant_answers_lose_nothing(model_path: Path) -> None:
    faces = made_faces(21)
    result = measure_robustness(OnnxModel(model_path), faces)
    assert result.clean == result.mirrored
    assert result.clean.fer2013 == pytest.approx(1 / 7)
    assert result.mean_drop.fer2013 == pytest.approx(0, abs=1e-9)
    assert result.mean_drop.ferplus == pytest.approx(0, abs=1e-9)
    assert [curve.name for curve in result.curves] == [corruption.name for corruption in CORRUPTIONS]
    assert all(len(curve.accuracies) == 5 for curve in result.curves)
    assert result.face_sizes.strengths[0] == 48
    assert result.face_sizes.accuracies[0] == result.clean


def test_without_votes_one_head_is_measured(model_path: Path) -> None:
    faces = dataclasses.replace(made_faces(14), votes=None)
    result = measure_robustness(OnnxModel(model_path), faces, corruptions=CORRUPTIONS[:1], sizes=(48, 12))
    assert result.clean.ferplus is None
    assert result.mean_drop.ferplus is None
    assert json.loads(json.dumps(result.as_dict()))["clean"] == {"fer2013": pytest.approx(1 / 7), "ferplus": None}


def test_means_and_differences_by_hand() -> None:
    mean = mean_accuracy([Accuracy(0.2, 0.4), Accuracy(0.4, 0.8)])
    assert mean.fer2013 == pytest.approx(0.3)
    assert mean.ferplus == pytest.approx(0.6)
    assert Accuracy(0.5, None).minus(mean) == Accuracy(pytest.approx(0.2), None)  # type: ignore[arg-type]


def test_a_subset_is_spread_over_the_set() -> None:
    faces = made_faces(70)
    assert spread_subset(faces, None) is faces
    assert spread_subset(faces, 1000) is faces
    subset = spread_subset(faces, 8)
    assert len(subset) == 8
    assert (subset.pictures[0] == faces.pictures[0]).all()
    assert (subset.pictures[-1] == faces.pictures[-1]).all()
    with pytest.raises(ConfigError, match="0"):
        spread_subset(faces, 0)


def test_command_prints_json_or_tables(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = save_npz(made_faces(14), tmp_path / "set.npz")
    arguments = ["--data", str(data), "--model", str(model_path), "--pictures", "7"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_pictures"] == 7
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "light from a side" in text
    assert "7 pictures: clean 14.3" in text
    assert main([*arguments, "--pictures", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.heavy
def test_the_shipped_model_bears_weak_corruptions(shared_data: Path) -> None:
    from training.data.load import load_faces
    from training.measure.inference import SHIPPED_MODEL

    faces = spread_subset(load_faces(shared_data / "fer2013", split="publictest"), 400)
    result = measure_robustness(OnnxModel(SHIPPED_MODEL, num_threads=1), faces)
    weak = mean_accuracy([curve.accuracies[0] for curve in result.curves])
    strong = mean_accuracy([curve.accuracies[4] for curve in result.curves])
    assert result.clean.fer2013 - weak.fer2013 < 0.03
    assert strong.fer2013 < weak.fer2013 < result.clean.fer2013 + 0.01
    sizes = np.array([accuracy.fer2013 for accuracy in result.face_sizes.accuracies])
    assert sizes[-1] < sizes[0]
