"""All stages, as a user runs them: settings → data → training → export → evaluation, on made faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.made import made_faces, save_npz
from training import evaluate, export, train
from training.config import TrainConfig, save_config


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_from_pictures_to_a_measured_model(
    tmp_path: Path, tiny_config: TrainConfig, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_config(tiny_config, tmp_path / "small.yaml")
    run, model = tmp_path / "run", tmp_path / "model" / "emotions.onnx"
    epochs = ["--set", "optim.epochs=30", "--quiet"]
    assert train.main(["--config", str(tmp_path / "small.yaml"), "--run", str(run), *epochs]) == 0
    assert export.main(["--run", str(run), "--out", str(model), "--precision", precision]) == 0
    test_set = save_npz(made_faces(140, seed=9), tmp_path / "test.npz")
    capsys.readouterr()
    assert evaluate.main(["--data", str(test_set), "--model", str(model), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] > 0.9
    assert result["ferplus_accuracy"] > 0.9
