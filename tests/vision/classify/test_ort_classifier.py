"""The ONNX Runtime classifier: right answers, and one clear error for each way a model can be wrong."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.model_manifest import manifest_path_for, save_manifest
from emostream.errors import InferenceError, ManifestError, ModelUnavailableError
from emostream.vision.classify.ort_classifier import OrtClassifier
from tests.onnx_models import (
    CROP_SIZE_PIXELS,
    OUTPUTS,
    classifier_model,
    expected_probabilities,
    manifest_for,
    save_classifier,
)

# float32 in the graph, float64 in the test: seven values below 1.
TOLERANCE = 1e-5


def crops_of(*values: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One crop of each gray value."""
    return np.stack([np.full((CROP_SIZE_PIXELS, CROP_SIZE_PIXELS), value, dtype=np.uint8) for value in values])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> OrtClassifier:
    return OrtClassifier(save_classifier(tmp_path_factory.mktemp("model")))


def test_classifies(classifier: OrtClassifier) -> None:
    crops = crops_of(0, 128, 255)
    result = classifier.classify(crops)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected_probabilities(crops), atol=TOLERANCE)
    assert EmotionScores(classifier.manifest.labels, tuple(result[2].tolist())).dominant == EMOTIONS[-1]


def test_gives_all_outputs_for_evaluation(classifier: OrtClassifier) -> None:
    by_output = classifier.classify_all(crops_of(200))
    assert tuple(by_output) == OUTPUTS
    np.testing.assert_allclose(by_output[OUTPUTS[1]], by_output[OUTPUTS[0]][:, ::-1], atol=TOLERANCE)


@given(num_crops=st.integers(0, 40), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_any_number_of_crops_gives_the_rows_of_the_single_ones(
    classifier: OrtClassifier, num_crops: int, seed: int
) -> None:
    shape = (num_crops, CROP_SIZE_PIXELS, CROP_SIZE_PIXELS)
    crops = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    result = classifier.classify(crops)
    assert result.shape == (num_crops, len(EMOTIONS))
    np.testing.assert_allclose(result, expected_probabilities(crops), atol=TOLERANCE)


def test_splits_batches_larger_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class WatchedSession(onnxruntime.InferenceSession):  # type: ignore[misc]
        def run(self, names: list[str], feed: dict[str, Any]) -> Any:
            sizes.append(len(feed["crops"]))
            return super().run(names, feed)

    monkeypatch.setattr(onnxruntime, "InferenceSession", WatchedSession)
    classifier = OrtClassifier(save_classifier(tmp_path, max_batch_size=8), max_batch_size=4)
    sizes.clear()
    crops = crops_of(*range(0, 100, 10))
    np.testing.assert_allclose(classifier.classify(crops), expected_probabilities(crops), atol=TOLERANCE)
    assert sizes == [4, 4, 2]


def test_may_be_called_from_several_threads(classifier: OrtClassifier) -> None:
    crops = crops_of(*range(0, 250, 10))
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(classifier.classify(crops))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(result, results[0]) for result in results)


def test_does_not_need_writable_or_contiguous_crops(classifier: OrtClassifier) -> None:
    crops = np.repeat(crops_of(10, 90), 2, axis=2)[:, :, ::2]
    crops.setflags(write=False)
    np.testing.assert_allclose(classifier.classify(crops), expected_probabilities(crops), atol=TOLERANCE)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 9, 9), np.uint8),
        np.zeros((1, 8, 8), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
    ],
    ids=["size", "type", "no-batch", "channels"],
)
def test_wrong_crops_are_refused(classifier: OrtClassifier, crops: Any) -> None:
    with pytest.raises(InferenceError, match="n×8×8"):
        classifier.classify(crops)


def test_closing_twice_is_allowed_and_using_it_then_is_not(tmp_path: Path) -> None:
    with OrtClassifier(save_classifier(tmp_path)) as classifier:
        pass
    classifier.close()
    with pytest.raises(InferenceError):
        classifier.classify(crops_of(1))


@pytest.mark.parametrize(
    ("model", "manifest_changes", "message"),
    [
        ({"size": 9}, {}, "n×8×8"),
        ({"input_name": "pictures"}, {}, "crops"),
        ({"input_type": onnx.TensorProto.INT32}, {}, "uint8"),
        ({"batch": 1}, {}, "batch size"),
        ({"num_columns": 5}, {}, "one column per label"),
        ({"with_softmax": False}, {}, "sum to 1"),
        ({"outputs": ("probabilities",)}, {}, "fer2013_probabilities"),
        ({"metadata_labels": tuple(reversed(EMOTIONS))}, {}, "labels angry"),
        ({"scale": float("nan")}, {}, "finite"),
        ({}, {"input_size_pixels": 64}, "64"),
        ({}, {"labels": ("a", "b")}, "label"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_model_that_does_not_fit_its_manifest_is_refused(
    tmp_path: Path, model: dict[str, Any], manifest_changes: dict[str, Any], message: str
) -> None:
    path = save_classifier(tmp_path, model=classifier_model(**model), **manifest_changes)
    with pytest.raises(ManifestError, match=message) as caught:
        OrtClassifier(path)
    assert "export" in str(caught.value)


def test_a_processor_that_would_overflow_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_classifier(tmp_path, precision="int8", layout="vnni")
    monkeypatch.setattr("emostream.vision.classify.ort_classifier.has_int8_instructions", lambda: True)
    OrtClassifier(path).close()
    monkeypatch.setattr("emostream.vision.classify.ort_classifier.has_int8_instructions", lambda: False)
    with pytest.raises(ManifestError, match=r"classify\.precision: fp32"):
        OrtClassifier(path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x01" * 500], ids=["empty", "text", "noise"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(content)
    save_manifest(manifest_for(content), model_path=path)
    with pytest.raises(ManifestError):
        OrtClassifier(path)


@pytest.mark.parametrize("keep_bytes", [0, 10, 200])
def test_a_damaged_file_is_refused_by_its_hash(tmp_path: Path, keep_bytes: int) -> None:
    path = save_classifier(tmp_path)
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(ManifestError, match="sha256"):
        OrtClassifier(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"nothing\.onnx"):
        OrtClassifier(tmp_path / "nothing.onnx")


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    path = save_classifier(tmp_path)
    manifest_path_for(path).unlink()
    with pytest.raises(ModelUnavailableError, match=r"tiny\.json"):
        OrtClassifier(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not valid"),
        ('{"name": "x"}', "not valid"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = save_classifier(tmp_path)
    manifest_path_for(path).write_text(text)
    with pytest.raises(ManifestError, match=message):
        OrtClassifier(path)


def test_labels_in_the_file_that_agree_are_fine(tmp_path: Path) -> None:
    model = classifier_model(metadata_labels=EMOTIONS)
    path = save_classifier(tmp_path, model=model)
    assert OrtClassifier(path).manifest.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
