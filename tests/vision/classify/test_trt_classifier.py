"""The parts of the TensorRT classifier that need no GPU: batches, padding, compiling by TensorRT-RTX, its messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.config import ClassifySettings
from emostream.errors import EngineUnavailableError, InferenceError, ManifestError
from emostream.vision.classify.gpu_classifier import GpuClassifier
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.trt_classifier import compile_classifier, load_trt_classifier
from emostream.vision.engines.trt.cuda import Gpu, find_gpu
from emostream.vision.engines.trt.engine import TrtEngine
from emostream.vision.engines.trt.package import load_package
from tests.onnx_models import CROP_SIZE_PIXELS, classifier_model, expected_probabilities, save_classifier

BATCHES = (1, 4, 16)


class OrtEngine:
    """An engine with profiles of fixed sizes, on ONNX Runtime instead of a GPU; remembers what it was given."""

    def __init__(self, path: Path) -> None:
        self._classifier = OrtClassifier(path)
        self.sizes: list[int] = []

    def run(self, batch: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        assert len(batch) in BATCHES
        self.sizes.append(len(batch))
        return self._classifier.classify_all(batch)

    def close(self) -> None:
        self._classifier.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> OrtEngine:
    return OrtEngine(save_classifier(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def classifier(engine: OrtEngine) -> GpuClassifier:
    return GpuClassifier(cast("TrtEngine", engine), manifest=engine._classifier.manifest, batches=BATCHES)


def random_crops(num: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    shape = (num, CROP_SIZE_PIXELS, CROP_SIZE_PIXELS)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@given(num=st.integers(0, 70), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_any_number_of_crops_gives_the_rows_of_the_single_ones(classifier: GpuClassifier, num: int, seed: int) -> None:
    crops = random_crops(num, seed)
    result = classifier.classify(crops)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected_probabilities(crops), atol=1e-5)


def test_a_batch_is_cut_into_the_sizes_of_the_engine(classifier: GpuClassifier, engine: OrtEngine) -> None:
    engine.sizes.clear()
    classifier.classify(random_crops(18))
    assert engine.sizes == [16, 4]


def test_a_gpu_is_worth_waiting_for(classifier: GpuClassifier) -> None:
    assert classifier.wanted_batch_size == 4


@pytest.mark.parametrize("crops", [np.zeros((1, 9, 9), np.uint8), np.zeros((1, 8, 8), np.float32)])
def test_wrong_crops_are_refused(classifier: GpuClassifier, crops: Any) -> None:
    with pytest.raises(InferenceError, match="n×8×8"):
        classifier.classify(crops)


# --- compiling --------------------------------------------------------------------------------------------------------


def gpu_missing() -> bool:
    try:
        find_gpu()
    except EngineUnavailableError:
        return True
    return False


def rtx_missing() -> bool:
    try:
        load_package("tensorrt_rtx")
    except EngineUnavailableError:
        return True
    return False


needs_rtx = pytest.mark.skipif(rtx_missing(), reason="needs tensorrt-rtx-cu13")
without_gpu = pytest.mark.skipif(not gpu_missing(), reason="there is a GPU")


@needs_rtx
@without_gpu
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16"])
def test_compiles_and_proves_what_it_compiles_from(tmp_path: Path, precision: str) -> None:
    wanted = ClassifySettings.model_validate(
        {"model": save_classifier(tmp_path), "precision": precision, "batches": [1, 8, 128]}
    )
    report = compile_classifier("tensorrt_rtx", wanted, cache_dir=tmp_path / "models")
    assert report.path.parent == tmp_path / "models" / "engines"
    assert report.profiles == ("1×8×8", "8×8×8", "16×8×8"), "the model allows 16"
    assert report.precision == ("fp32" if precision == "fp32" else "fp16")
    assert report.engine_proof is None, "there is no GPU to run it"
    if report.precision == "fp16":
        assert report.source_proof is not None
        assert report.source_proof["argmax_agreement"] > 0.995
    else:
        assert report.source_proof is None
    details = json.loads(report.path.with_suffix(".json").read_text())
    assert details["signature"]["inputs"] == [{"name": "crops", "dtype": "uint8", "shape": [-1, 8, 8]}]
    assert [output["name"] for output in details["signature"]["outputs"]] == ["probabilities", "fer2013_probabilities"]
    assert [profile["largest"] for profile in details["signature"]["profiles"]] == [[1, 8, 8], [8, 8, 8], [16, 8, 8]]
    assert details["proofs"] == {}


@needs_rtx
@without_gpu
def test_a_conversion_that_changes_the_answers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = classifier_model(scale=-1 / 255)
    monkeypatch.setattr("emostream.vision.engines.half_precision.half_from_full", lambda model: other)
    wanted = ClassifySettings(model=save_classifier(tmp_path))
    with pytest.raises(ManifestError, match=r"fp16.*tiny\.onnx"):
        compile_classifier("tensorrt_rtx", wanted, cache_dir=tmp_path / "models")
    assert not (tmp_path / "models").exists()


@needs_rtx
@without_gpu
def test_loading_without_a_gpu_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="NVIDIA GPU"):
        load_trt_classifier("tensorrt_rtx", ClassifySettings(model=save_classifier(tmp_path)), cache_dir=tmp_path)


@needs_rtx
def test_a_gpu_that_the_package_does_not_run_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emostream.vision.engines.trt.compile.find_gpus", lambda: (Gpu("NVIDIA H100", (9, 0), "13.0"),))
    with pytest.raises(EngineUnavailableError, match=r"NVIDIA H100 \(9\.0\), CUDA 13\.0"):
        load_trt_classifier("tensorrt_rtx", ClassifySettings(model=save_classifier(tmp_path)), cache_dir=tmp_path)
