"""Which classifier the settings ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emostream.classify.load import Precision, load_classifier, packaged_model_path
from emostream.config import ClassifySettings
from emostream.errors import ConfigError, ModelUnavailableError
from tests.onnx_models import CROP_SIZE_PIXELS, save_classifier


def test_loads_the_named_model(tmp_path: Path) -> None:
    settings = ClassifySettings(model=save_classifier(tmp_path), max_batch_size=4)
    classifier = load_classifier(settings)
    crops = np.zeros((9, CROP_SIZE_PIXELS, CROP_SIZE_PIXELS), np.uint8)
    assert classifier.classify(crops).shape == (9, 7)
    classifier.close()


def test_a_batch_size_the_model_does_not_allow_is_refused_with_what_to_do(tmp_path: Path) -> None:
    settings = ClassifySettings(model=save_classifier(tmp_path, max_batch_size=16), max_batch_size=32)
    with pytest.raises(ConfigError, match=r"allows batches of 16, settings ask for 32; set classify\.max_batch_size"):
        load_classifier(settings)


def test_another_type_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.touch()
    with pytest.raises(ConfigError, match=r"model\.pt"):
        load_classifier(ClassifySettings(model=path))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"gone\.onnx"):
        load_classifier(ClassifySettings(model=tmp_path / "gone.onnx"))


def test_the_packaged_model_is_the_default() -> None:
    if not packaged_model_path().exists():
        pytest.skip("no emotion model is in this package yet")
    classifier = load_classifier(ClassifySettings())
    size = classifier.manifest.input_size_pixels
    probabilities = classifier.classify(np.zeros((3, size, size), np.uint8))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    classifier.close()


@pytest.mark.parametrize(
    ("precision", "has_instructions", "expected"),
    [
        ("auto", True, "int8"),
        ("auto", False, "fp32"),
        ("fp32", True, "fp32"),
        ("int8", False, "int8"),
    ],
)
def test_the_packaged_model_comes_in_the_arithmetic_that_fits(
    precision: Precision, has_instructions: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emostream.classify.load.has_int8_instructions", lambda: has_instructions)
    assert load_classifier(ClassifySettings(precision=precision)).manifest.precision == expected
