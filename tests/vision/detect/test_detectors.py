"""What every detector does, shown over each implementation with a network whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from emostream.config import DetectSettings
from emostream.domain.frame import Luma
from emostream.errors import ManifestError
from emostream.vision.detect.centerface.detector import CenterFaceDetector
from emostream.vision.detect.detector import FaceDetector, SizedDetector
from emostream.vision.detect.load import load_detector
from emostream.vision.detect.yunet_detector import YuNetDetector
from tests.vision.detect.tiny_models import FACE_SIDE_PIXELS, LANDMARKS_IN_BOX, tiny_centerface, tiny_yunet

Build = Callable[..., FaceDetector]
LIMITS = {"min_score": 0.5, "max_iou": 0.3, "max_faces": 10}

# The white spot covers four of CenterFace's cells, any of which may be the one that is kept.
POSITION_TOLERANCE_PIXELS = 3.0


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture(params=["centerface", "yunet", "yunet of declared size", "yunet bound to a size"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Builds one detector; frames keep their size, because the faces asked for are as small as it finds."""
    if request.param == "centerface":
        path = write(tmp_path / "centerface.onnx", tiny_centerface())
        return lambda **limits: CenterFaceDetector(path, **{"min_face_pixels": 20, **LIMITS, **limits})
    size = None if request.param == "yunet" else (640, 640)
    path = write(tmp_path / "yunet.onnx", tiny_yunet(size=size, is_bound="bound" in request.param))
    return lambda **limits: YuNetDetector(path, **{"min_face_pixels": 12, **LIMITS, **limits})


def frame_with_spots(*centres: tuple[int, int], width: int = 320, height: int = 192) -> Luma:
    luma = np.zeros((height, width), dtype=np.uint8)
    for x, y in centres:
        luma[y - 4 : y + 4, x - 4 : x + 4] = 255
    return luma


def test_face_stands_where_it_is(build: Build) -> None:
    (face,) = build().detect(frame_with_spots((100, 60)))
    half = FACE_SIDE_PIXELS / 2
    assert face.box_xyxy == pytest.approx((100 - half, 60 - half, 100 + half, 60 + half), abs=POSITION_TOLERANCE_PIXELS)
    assert face.score == pytest.approx(1, abs=1e-3)
    x0, y0, _, _ = face.box_xyxy
    expected = [(x0 + x * FACE_SIDE_PIXELS, y0 + y * FACE_SIDE_PIXELS) for x, y in LANDMARKS_IN_BOX]
    np.testing.assert_allclose(face.landmarks, expected, atol=1e-2)
    assert face.track_id is None
    assert face.found_by == "detector"


def test_no_face_is_an_empty_list(build: Build) -> None:
    assert build().detect(frame_with_spots()) == []


def test_best_score_first_and_at_most_the_given_number(build: Build) -> None:
    luma = frame_with_spots((60, 60), (180, 60), (260, 140))
    luma[56:64, 56:64] = 180
    luma[136:144, 256:264] = 220
    faces = build().detect(luma)
    assert [round((face.box_xyxy[0] + face.box_xyxy[2]) / 2, -1) for face in faces] == [180, 260, 60]
    assert len(build(max_faces=2).detect(luma)) == 2


def test_faces_in_a_large_frame_come_back_in_its_pixels(build: Build) -> None:
    luma = np.kron(frame_with_spots((100, 60)), np.ones((4, 4), dtype=np.uint8))
    (face,) = build(min_face_pixels=80).detect(luma)
    centre = ((face.box_xyxy[0] + face.box_xyxy[2]) / 2, (face.box_xyxy[1] + face.box_xyxy[3]) / 2)
    assert centre == pytest.approx((400, 240), abs=4 * POSITION_TOLERANCE_PIXELS)


def test_a_larger_frame_leaves_out_larger_faces(build: Build) -> None:
    detector = build()
    assert isinstance(detector, SizedDetector)
    smallest = [detector.smallest_face_pixels(width, width * 9 // 16) for width in (320, 3840, 7680)]
    assert smallest[0] <= 21 < smallest[1]
    assert smallest[2] == pytest.approx(2 * smallest[1], rel=0.02)


@pytest.mark.parametrize(
    "shape", [(1, 1), (16, 16), (2, 3000), (3000, 2), (33, 31), (0, 10)], ids=lambda shape: f"{shape[1]}×{shape[0]}"
)
def test_odd_sizes_are_searched_without_error(build: Build, shape: tuple[int, int]) -> None:
    assert build().detect(np.zeros(shape, dtype=np.uint8)) == []


def test_strided_read_only_picture(build: Build) -> None:
    buffer = np.full((192, 400), 255, dtype=np.uint8)
    luma = buffer[:, :320]
    luma[:] = frame_with_spots((100, 60))
    luma.flags.writeable = False
    assert len(build().detect(luma)) == 1


def test_several_threads_at_once(build: Build) -> None:
    detector = build()
    frames = [frame_with_spots((40 + 8 * index, 60)) for index in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector.detect, frames))
    assert found == [detector.detect(frame) for frame in frames]


@pytest.mark.parametrize("kind", ["centerface", "yunet"])
@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08" * 100], ids=["empty", "text", "binary"])
def test_damaged_file_names_file_and_remedy(kind: str, content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.onnx", content)
    with pytest.raises(ManifestError, match=r"damaged\.onnx"):
        load_detector(DetectSettings.model_validate({"kind": kind}), model_path=path)


@pytest.mark.parametrize(("kind", "foreign"), [("centerface", tiny_yunet()), ("yunet", tiny_centerface())])
def test_foreign_model_is_refused(kind: str, foreign: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "foreign.onnx", foreign)
    with pytest.raises(ManifestError, match=r"foreign\.onnx"):
        load_detector(DetectSettings.model_validate({"kind": kind}), model_path=path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"absent\.onnx"):
        load_detector(DetectSettings(), model_path=tmp_path / "absent.onnx")


@pytest.mark.parametrize("kind", ["centerface", "yunet"])
def test_settings_choose_the_detector(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", tiny_centerface() if kind == "centerface" else tiny_yunet())
    assert load_detector(DetectSettings.model_validate({"kind": kind}), model_path=path).name == kind
