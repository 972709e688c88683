"""All stages, as a user runs them: settings → data → training → export → evaluation → engines, on made faces."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from emostream.vision.classify.verify import check_variants
from tests.conftest import REPOSITORY
from tests.training.made import made_faces, save_npz
from training.config import TrainConfig, save_config
from training.convert.variants import VARIANTS


def stage(name: str, *arguments: str | Path) -> str:
    """Run `python -m training.NAME` from the repository, as its README says, and return what it prints."""
    command = [sys.executable, "-m", f"training.{name}", *map(str, arguments)]
    outcome = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


@pytest.mark.heavy
def test_from_pictures_to_an_engine(tmp_path: Path, tiny_config: TrainConfig) -> None:
    save_config(tiny_config, tmp_path / "small.yaml")
    run, models = tmp_path / "run", tmp_path / "model"
    stage("train", "--config", tmp_path / "small.yaml", "--run", run, "--set", "optim.epochs=30", "--quiet")
    stage("export", "--run", run, "--all", "--out", models)

    test_set = save_npz(made_faces(140, seed=9), tmp_path / "test.npz")
    result = json.loads(stage("evaluate", "--data", test_set, "--model", models / "emotions.onnx", "--json"))
    assert result["accuracy"] > 0.9
    assert result["ferplus_accuracy"] > 0.9
    variants = [models / variant.file_name("emotions") for variant in VARIANTS.values()]
    reference = models / "emotions-fp32.onnx"
    checks = check_variants([reference, *(path for path in variants if path != reference)])
    assert [check.problem for check in checks] == [""] * len(VARIANTS)

    if find_spec("tensorrt_rtx") is None:
        pytest.skip("all but the last stage passed; engines are built with tensorrt-rtx-cu13")
    stage("compile", "--models", models, "--out", tmp_path / "engines", "--engine", "tensorrt_rtx")
    engines = [json.loads(path.read_text()) for path in (tmp_path / "engines" / "engines").glob("*.json")]
    assert sorted(engine["key"]["precision"] for engine in engines) == ["fp16", "fp32", "int8"]
    for engine in engines:
        assert engine["signature"]["inputs"] == [{"name": "crops", "dtype": "uint8", "shape": [-1, 64, 64]}]
