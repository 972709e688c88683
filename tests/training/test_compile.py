"""Exported variants become engines; what TensorRT does not take is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emostream.errors import ConfigError
from tests.onnx_models import save_classifier
from training.compile import compile_models, main

pytest.importorskip("tensorrt_rtx", reason="engines are built with tensorrt-rtx-cu13")


def save_variant(folder: Path, name: str, **changes: Any) -> Path:
    (folder / name).mkdir(parents=True)
    path = save_classifier(folder / name, **changes)
    for part in (path, path.with_suffix(".json")):
        part.rename(folder / f"{name}{part.suffix}")
    (folder / name).rmdir()
    return folder / f"{name}.onnx"


def test_every_variant_that_tensorrt_takes_becomes_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    save_variant(models, "emotions-fp32")
    save_variant(models, "emotions-fp16", precision="fp16")
    save_variant(models, "emotions", precision="int8")
    (models / "other.onnx").write_bytes(b"has no manifest")
    arguments = ["--models", str(models), "--out", str(tmp_path / "out"), "--batch", "4", "--batch", "1"]
    assert main(arguments) == 0
    details = [json.loads(path.read_text()) for path in (tmp_path / "out" / "engines").glob("*.json")]
    assert {engine["key"]["precision"] for engine in details} == {"fp32", "fp16"}
    assert {tuple(engine["key"]["profiles"]) for engine in details} == {("1×8×8", "4×8×8")}
    assert "fp32" in capsys.readouterr().out


def test_one_file_may_be_named(tmp_path: Path) -> None:
    (report,) = compile_models(save_variant(tmp_path, "mine"), tmp_path / "out", batches=[2])
    assert (report.precision, report.profiles) == ("fp32", ("2×8×8",))


def test_a_folder_without_models_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_variant(tmp_path, "emotions", precision="int8")
    with pytest.raises(ConfigError):
        compile_models(tmp_path, tmp_path / "out")
    assert main(["--models", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "training.export --all" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--models", str(tmp_path / "gone.onnx"), "--out", str(tmp_path)]) == 5
    assert "gone.onnx does not exist" in capsys.readouterr().err
