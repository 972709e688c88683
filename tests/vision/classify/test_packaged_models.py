"""What an engine is compiled from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx
import pytest

from emostream.config import ClassifySettings
from emostream.domain.model_manifest import load_manifest
from emostream.errors import ConfigError, ManifestError, ModelUnavailableError
from emostream.vision.classify.packaged_models import engine_source, packaged_variant_path
from tests.onnx_models import save_classifier


def settings_for(model: Path | None, precision: str = "auto") -> ClassifySettings:
    return ClassifySettings.model_validate({"model": model, "precision": precision})


def is_half(model: bytes) -> bool:
    types = {tensor.data_type for tensor in onnx.load_from_string(model).graph.initializer}
    return onnx.TensorProto.FLOAT16 in types


@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_fp16_is_made_from_fp32(tmp_path: Path, precision: str) -> None:
    path = save_classifier(tmp_path)
    source = engine_source(settings_for(path, precision))
    assert (source.manifest.precision, source.reference, source.is_derived) == ("fp16", path, True)
    assert is_half(source.onnx_model)
    assert not is_half(path.read_bytes())


def test_fp32_is_taken_as_it_is(tmp_path: Path) -> None:
    path = save_classifier(tmp_path)
    source = engine_source(settings_for(path, "fp32"))
    assert (source.manifest, source.is_derived) == (load_manifest(path), False)
    assert source.onnx_model == path.read_bytes()


@pytest.mark.parametrize(
    ("variant", "expected"),
    [({"precision": "fp16"}, "fp16"), ({"precision": "int8", "layout": "tensorrt"}, "int8")],
)
def test_a_variant_that_was_exported_for_gpus_is_taken_as_it_is(
    tmp_path: Path, variant: dict[str, Any], expected: str
) -> None:
    path = save_classifier(tmp_path, **variant)
    for precision in ("auto", expected):
        source = engine_source(settings_for(path, precision))
        assert (source.manifest.precision, source.is_derived) == (expected, False)
        assert source.onnx_model == path.read_bytes()


@pytest.mark.parametrize(
    ("variant", "precision", "message"),
    [
        ({"precision": "int8"}, "auto", "INT8.*--variant int8-tensorrt"),
        ({"precision": "int8", "layout": "tensorrt"}, "fp16", "int8.*fp16.*--variant"),
        ({"precision": "fp32"}, "int8", "fp32.*int8"),
        ({"precision": "fp16"}, "fp32", "fp16.*fp32"),
    ],
)
def test_a_variant_that_does_not_fit_is_refused_with_what_to_do(
    tmp_path: Path, variant: dict[str, Any], precision: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        engine_source(settings_for(save_classifier(tmp_path, **variant), precision))


def test_the_packaged_model_is_the_default() -> None:
    source = engine_source(settings_for(None))
    assert source.reference == packaged_variant_path("fp32")
    assert source.manifest.precision == "fp16"


def test_an_int8_variant_that_does_not_ship_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "emostream.vision.classify.packaged_models.packaged_variant_path",
        lambda variant: Path("nowhere") / f"{variant}.onnx",
    )
    with pytest.raises(ConfigError, match=r"classify\.precision.*fp16"):
        engine_source(settings_for(None, "int8"))


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"gone\.onnx"):
        engine_source(settings_for(tmp_path / "gone.onnx"))
    path = save_classifier(tmp_path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ManifestError, match="sha256"):
        engine_source(settings_for(path))


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    """Or its engine would be compiled anew at each start."""
    path = save_classifier(tmp_path)
    hashes = {hashlib.sha256(engine_source(settings_for(path)).onnx_model).hexdigest() for _ in range(3)}
    assert len(hashes) == 1
