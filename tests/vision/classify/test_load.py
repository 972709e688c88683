"""Which classifier the settings ask for, and on which engine."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from emostream.config import ClassifySettings
from emostream.errors import ConfigError, EngineUnavailableError, ManifestError, ModelUnavailableError
from emostream.vision.classify import engines
from emostream.vision.classify.engines import EngineContext, choose_engine, model_path, open_engine
from emostream.vision.classify.load import load_classifier
from emostream.vision.engines.fastest import ENGINE_CHOICES_FILE, remembered_choices
from emostream.vision.engines.trt.cuda import is_gpu_given
from tests.onnx_models import CROP_SIZE_PIXELS, save_classifier


def test_loads_the_named_model(tmp_path: Path) -> None:
    settings = ClassifySettings(model=save_classifier(tmp_path), max_batch_size=4)
    classifier = load_classifier(settings)
    crops = np.zeros((9, CROP_SIZE_PIXELS, CROP_SIZE_PIXELS), np.uint8)
    assert classifier.classify(crops).shape == (9, 7)
    classifier.close()


def test_a_batch_size_the_model_does_not_allow_is_refused_with_what_to_do(tmp_path: Path) -> None:
    settings = ClassifySettings(model=save_classifier(tmp_path, max_batch_size=16), max_batch_size=32)
    with pytest.raises(ConfigError, match=r"16.*32.*classify\.max_batch_size"):
        load_classifier(settings)


def test_another_type_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.touch()
    with pytest.raises(ConfigError, match=r"model\.pt"):
        load_classifier(ClassifySettings(model=path, engine="onnxruntime"))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"gone\.onnx"):
        load_classifier(ClassifySettings(model=tmp_path / "gone.onnx", engine="onnxruntime"))


def test_a_required_gpu_that_is_missing_is_an_error_and_a_given_one_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if choose_engine().name != "onnxruntime":
        pytest.skip("this machine has a GPU")
    model = save_classifier(tmp_path)
    with pytest.raises(EngineUnavailableError, match="tensorrt"):  # and why it cannot be used
        load_classifier(ClassifySettings(model=model, max_batch_size=4, gpu_required=True))
    with pytest.raises(ConfigError, match="onnxruntime"):
        load_classifier(ClassifySettings(model=model, max_batch_size=4, gpu_required=True, engine="onnxruntime"))

    def warnings_with(visible: str) -> list[str]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        caplog.clear()
        load_classifier(ClassifySettings(model=model, max_batch_size=4)).close()
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    assert warnings_with("") == []
    (warning,) = warnings_with("0")
    assert "cpu" in warning.lower() and "tensorrt" in warning


@pytest.mark.parametrize(
    ("environment", "is_given"),
    [
        ({}, False),
        ({"CUDA_VISIBLE_DEVICES": "0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "GPU-3f,GPU-4a"}, True),
        ({"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "all"}, False),  # Ray's answer for no GPU
        ({"CUDA_VISIBLE_DEVICES": "-1", "NVIDIA_VISIBLE_DEVICES": "all"}, False),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, True),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, False),
    ],
)
def test_a_given_gpu_is_known_by_the_environment(environment: dict[str, str], is_given: bool) -> None:
    assert is_gpu_given(environment) is is_given


def test_the_packaged_model_is_the_default() -> None:
    if not model_path(ClassifySettings()).exists():
        pytest.skip("no emotion model is in this package yet")
    classifier = load_classifier(ClassifySettings())
    size = classifier.manifest.input_size_pixels
    probabilities = classifier.classify(np.zeros((3, size, size), np.uint8))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    classifier.close()


@pytest.mark.parametrize(
    ("precision", "has_instructions", "expected"),
    [
        ("auto", False, "fp32"),
        ("fp32", True, "fp32"),
        ("fp16", True, "fp32"),
        ("int8", False, "int8"),
    ],
)
def test_the_packaged_model_comes_in_the_arithmetic_that_fits(
    precision: str, has_instructions: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emostream.vision.classify.engines.has_int8_instructions", lambda: has_instructions)
    settings = ClassifySettings.model_validate({"precision": precision, "engine": "onnxruntime"})
    assert load_classifier(settings).manifest.precision == expected


def test_auto_takes_the_form_that_was_measured_to_be_faster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("emostream.vision.classify.engines.has_int8_instructions", lambda: True)
    settings = ClassifySettings(engine="onnxruntime")
    load_classifier(settings, cache_dir=tmp_path).close()  # measures
    ((key, measured),) = remembered_choices(tmp_path / ENGINE_CHOICES_FILE).items()
    assert set(measured) == {"fp32", "int8"}
    for faster in measured:
        remembered = {name: 1.0 if name == faster else 2.0 for name in measured}
        (tmp_path / ENGINE_CHOICES_FILE).write_text(json.dumps({key: remembered}))
        classifier = load_classifier(settings, cache_dir=tmp_path)
        assert classifier.manifest.precision == faster
        classifier.close()


# --- engines ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path: Path) -> EngineContext:
    return EngineContext(num_threads=1, cache_dir=tmp_path)


def test_an_unknown_engine_is_refused_with_those_there_are(context: EngineContext) -> None:
    with pytest.raises(ConfigError, match=r"'abacus'.*auto, onnxruntime, .*tensorrt, tensorrt_rtx"):
        open_engine("abacus", ClassifySettings(), context)


def no_gpu() -> str:
    raise EngineUnavailableError("no NVIDIA GPU can be used here")


def test_auto_takes_the_first_engine_that_can_run_and_logs_why_others_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_rtx(name: str) -> str:
        return "version 1 on a GPU" if name == "tensorrt_rtx" else no_gpu()

    monkeypatch.setattr(engines, "check_available", only_rtx)
    assert choose_engine().name == "tensorrt_rtx"
    assert choose_engine().candidates == ("tensorrt_rtx", "onnxruntime")
    assert choose_engine().passed_over["tensorrt"] == "no NVIDIA GPU can be used here"
    monkeypatch.setattr(engines, "check_available", lambda name: no_gpu())
    assert choose_engine().name == "onnxruntime"
    assert str(choose_engine()).startswith("onnxruntime (tensorrt: no NVIDIA GPU")


@pytest.mark.parametrize("error", [ManifestError("the engine does not match"), ConfigError("no INT8 variant")])
def test_auto_falls_back_with_a_warning_when_the_gpu_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, error: Exception
) -> None:
    def fails(settings: ClassifySettings, context: EngineContext) -> None:
        raise error

    monkeypatch.setattr(engines, "check_available", lambda name: "version 1 on a GPU")
    for name in engines.GPU_ENGINES:
        monkeypatch.setitem(engines.BUILT_IN, name, fails)
    model = save_classifier(tmp_path)
    with caplog.at_level(logging.WARNING):
        load_classifier(ClassifySettings(model=model, max_batch_size=8)).close()
    assert {record.args[0] for record in caplog.records} == {*engines.GPU_ENGINES, "onnxruntime"}  # type: ignore[index]
    with pytest.raises(type(error)):
        load_classifier(ClassifySettings(model=model, engine="tensorrt", max_batch_size=8))
