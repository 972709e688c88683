"""CenterFace for TensorRT: the same maps from another graph, compiled by TensorRT-RTX, in frames of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from emostream.config import DetectSettings
from emostream.errors import ConfigError, EngineUnavailableError, ManifestError
from emostream.vision.detect.centerface.detector import CenterFaceDetector
from emostream.vision.detect.load import load_trt_detector
from emostream.vision.detect.trt_network import (
    MAX_SIDE_PIXELS,
    compile_detector,
    with_cast_first,
)
from emostream.vision.engines.ort_network import OrtNetwork
from emostream.vision.engines.trt.package import load_package
from tests.vision.detect.test_detectors import LIMITS, frame_with_spots
from tests.vision.detect.tiny_models import tiny_centerface

OUTPUTS = ["heatmap", "scale", "offset", "landmarks"]


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "centerface.onnx"
    path.write_bytes(tiny_centerface())
    return path


@pytest.fixture
def _rtx() -> None:
    try:
        load_package("tensorrt_rtx")
    except EngineUnavailableError as exc:
        pytest.skip(str(exc))


def test_the_picture_is_cast_first_and_nothing_else_changes() -> None:
    model = onnx.load_from_string(tiny_centerface())
    changed = with_cast_first(model)
    (first,) = [node for node in changed.graph.node if changed.graph.input[0].name in node.input]
    assert first.op_type == "Cast"
    frame = frame_with_spots((100, 60))[None]
    before, after = (
        OrtNetwork(form.SerializeToString(), path=Path("tiny"), kind="a detector").run(frame, output_names=OUTPUTS)
        for form in (model, changed)
    )
    for expected, got in zip(before, after, strict=True):
        np.testing.assert_array_equal(expected, got)
    assert with_cast_first(changed) == changed


@pytest.mark.usefixtures("_rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_compiles_for_frames_of_any_size(model_path: Path, tmp_path: Path, precision: Any) -> None:
    report = compile_detector("tensorrt_rtx", model_path, precision=precision, cache_dir=tmp_path / "models")
    assert report.path.parent == tmp_path / "models" / "engines"
    single, batch = report.profiles
    assert single == f"1×32×32…1×288×480…1×{MAX_SIDE_PIXELS}×{MAX_SIDE_PIXELS}"
    assert batch == "2×32×32…8×288×480…16×672×672"
    assert (report.source_proof is None) == (precision == "fp32")


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ManifestError, match=r"damaged\.onnx"):
        compile_detector("tensorrt_rtx", path, precision="fp32", cache_dir=tmp_path)


class SmallNetwork:
    """ONNX Runtime that takes no longer side than an engine would."""

    def __init__(self, path: Path, *, max_side: int) -> None:
        self._network = OrtNetwork(path, path=path, kind="a detector")
        self._max_side = max_side

    def check(self, *, input_name: str | None, output_names: Sequence[str]) -> None:
        self._network.check(input_name=input_name, output_names=output_names)

    def run(self, pictures: npt.NDArray[Any], *, output_names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        assert max(pictures.shape) <= self._max_side
        return self._network.run(pictures, output_names=output_names)


@pytest.mark.parametrize("shape", [(192, 320), (2, 3000), (3000, 2), (60, 2000), (1, 1)])
def test_no_side_is_longer_than_the_engine_takes(model_path: Path, shape: tuple[int, int]) -> None:
    limits: dict[str, Any] = {"min_face_pixels": 20, **LIMITS}
    detector = CenterFaceDetector(SmallNetwork(model_path, max_side=640), max_input_side_pixels=640, **limits)
    assert detector.detect(np.zeros(shape, np.uint8)) == []


def test_faces_of_a_long_frame_come_back_in_its_pixels(model_path: Path) -> None:
    limits: dict[str, Any] = {"min_face_pixels": 40, **LIMITS}
    luma = np.kron(frame_with_spots((500, 60), width=1000, height=96), np.ones((2, 2), np.uint8))
    detector = CenterFaceDetector(SmallNetwork(model_path, max_side=1024), max_input_side_pixels=1024, **limits)
    (face,) = detector.detect(luma)
    assert (face.box_xyxy[0] + face.box_xyxy[2]) / 2 == pytest.approx(1000, abs=10)


def test_only_centerface_runs_on_a_gpu(tmp_path: Path) -> None:
    settings = DetectSettings(kind="yunet", engine="tensorrt")
    with pytest.raises(ConfigError, match=r"tensorrt.*yunet"):
        load_trt_detector(settings, model_path=tmp_path / "yunet.onnx", cache_dir=tmp_path)
