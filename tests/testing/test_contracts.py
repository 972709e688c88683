"""The contracts for engines and detectors: the built-in ones keep them, and each way to break them is noticed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.errors import ManifestError
from emostream.testing.detector_contract import check_detector
from emostream.testing.engine_contract import check_engine
from emostream.testing.fakes import face_at
from emostream.vision.classify.gpu_classifier import GpuClassifier
from emostream.vision.classify.ort_classifier import OrtClassifier
from emostream.vision.classify.packaged_models import packaged_variant_path
from tests.conftest import REPOSITORY
from tests.onnx_models import classifier_model, save_classifier
from tests.plugins.engine.emostream_brightness import BrightnessEngine, MiddleDetector
from tests.vision.classify.test_trt_classifier import BATCHES, OrtEngine
from tests.vision.detect.real_model import real_detector

PLUGIN = REPOSITORY / "tests" / "plugins" / "engine"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_onnx_runtime_keeps_the_contract(variant: Any) -> None:
    with OrtClassifier(packaged_variant_path("fp32")) as reference:
        check_engine(OrtClassifier(packaged_variant_path(variant)), reference=reference)


@pytest.mark.heavy
def test_the_batches_of_tensorrt_keep_the_contract() -> None:
    """On ONNX Runtime in place of a GPU; with one, tests/gpu runs the same."""
    engine = OrtEngine(packaged_variant_path("fp32"))
    manifest = engine._classifier.manifest
    check_engine(GpuClassifier(cast("Any", engine), manifest=manifest, batches=BATCHES))


def test_the_plugin_keeps_the_contract() -> None:
    check_engine(BrightnessEngine())
    check_detector(MiddleDetector())


def test_centerface_keeps_the_contract() -> None:
    check_detector(real_detector())


class Broken(BrightnessEngine):
    """Breaks the contract in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault
        self._kept = np.zeros((1, 7), np.float32)

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if self._fault == "takes anything" and crops.dtype != np.uint8:
            return np.zeros((len(crops), 7), np.float32)
        if self._fault == "usable after close":
            self._is_open = True
        answers = super().classify(crops)
        match self._fault:
            case "wrong type":
                return answers.astype(np.float64)
            case "no distribution":
                return answers * 2
            case "not a number":
                return answers * np.float32("nan")
            case "depends on the batch":
                answers[:, 0] += 0.001 * min(len(crops), 20)
                answers[:, 1] -= 0.001 * min(len(crops), 20)
            case "keeps the result":
                if len(self._kept) != len(crops):
                    self._kept = answers
                return self._kept
            case "limited":
                answers = answers[: self.manifest.max_batch_size]
        return answers


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong type", "expected float32"),
        ("no distribution", "each row must sum to 1"),
        ("not a number", "must be finite"),
        ("depends on the batch", "of 1 crops in a batch of 35 differ"),
        ("keeps the result", "earlier result"),
        ("limited", "expected float32"),
        ("takes anything", "InferenceError"),
        ("usable after close", "a closed engine must raise InferenceError"),
    ],
)
def test_an_engine_that_breaks_the_contract_is_noticed(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_engine(Broken(fault))


def test_an_engine_that_answers_differently_is_noticed(tmp_path: Path) -> None:
    model = save_classifier(tmp_path, model=classifier_model(size=64), input_size_pixels=64)
    with OrtClassifier(model) as reference, pytest.raises(ManifestError):
        check_engine(BrightnessEngine(), reference=reference)


def test_an_engine_for_other_crops_than_its_reference_is_noticed(tmp_path: Path) -> None:
    model = save_classifier(tmp_path, model=classifier_model(size=48), input_size_pixels=48)
    with OrtClassifier(model) as reference, pytest.raises(ManifestError, match=r"64.*48"):
        check_engine(BrightnessEngine(), reference=reference)


class Seeing(MiddleDetector):
    """Breaks the contract in one way."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def detect(self, luma: Luma) -> list[Face]:
        faces = super().detect(luma)
        match self._fault:
            case "sees nothing":
                return []
            case "sees faces everywhere":
                return [face_at(0, 0)]
            case "worst first":
                return [*faces, *(face_at(10, 10, score=0.95) for _ in faces)]
            case "outside":
                return [face_at(-500, -500) for _ in faces]
            case "writes":
                if luma.size and luma.flags.writeable:
                    luma[:] = 0
        return faces


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("sees nothing", "no face was found"),
        ("sees faces everywhere", "flat picture"),
        ("worst first", "the best face must come first"),
        ("outside", "lies outside the frame"),
        ("writes", "picture was modified"),
    ],
)
def test_a_detector_that_breaks_the_contract_is_noticed(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_detector(Seeing(fault))


def test_the_examples_in_the_documentation_are_the_tested_ones() -> None:
    source = (PLUGIN / "emostream_brightness" / "__init__.py").read_text(encoding="utf-8")
    document = (REPOSITORY / "docs" / "plugins.md").read_text(encoding="utf-8")
    for start, end in (("class BrightnessEngine", "class MiddleDetector"), ("class MiddleDetector", None)):
        stop = None if end is None else source.index(end)
        assert source[source.index(start) : stop].strip() in document


@pytest.mark.integration
def test_plugins_are_installed_and_used(tmp_path: Path) -> None:
    # Not imported: in this process setuptools would replace a distutils that is in use.
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools, which builds the plugin")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    package, site = tmp_path / "package", tmp_path / "site"
    for path in PLUGIN.rglob("*"):
        if path.suffix in (".py", ".toml"):
            target = package / path.relative_to(PLUGIN)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    subprocess.run([*pip, str(site), str(package)], check=True, capture_output=True)
    make_demo_clip(tmp_path / "clip.mp4", num_frames=5)
    outcome = subprocess.run(
        [sys.executable, "-m", "emostream", "analyze", "clip.mp4", "--json"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(site),
            "EMOSTREAM_CLASSIFY__ENGINE": "brightness",
            "EMOSTREAM_DETECT__KIND": "middle",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    events = [json.loads(line) for line in outcome.stdout.splitlines() if '"faces"' in line]
    assert {event["model_name"] for event in events} == {"brightness"}
    assert all(len(event["faces"]) == 1 for event in events)
