"""The INT8 detector finds what the exact one finds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emostream.cli.bench.demo_clip import load_portraits
from emostream.config import ModelSettings
from emostream.errors import ManifestError
from emostream.vision.detect.centerface.detector import CenterFaceDetector
from emostream.vision.detect.centerface.int8 import fused, quantized
from emostream.vision.detect.centerface.model import prepare_centerface
from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.models.store import ModelStore

pytestmark = pytest.mark.integration  # pulls the detector where it is not there yet


def _detector(path: Path) -> CenterFaceDetector:
    return CenterFaceDetector(path, min_face_pixels=40, min_score=0.5, max_iou=0.3, max_faces=10)


def test_faces_and_landmarks_agree_with_the_exact_detector() -> None:
    store = ModelStore(ModelSettings())
    exact, int8 = _detector(store.path_of("centerface")), _detector(store.path_of("centerface-int8"))
    errors = []
    for portrait in load_portraits():
        for scale in np.linspace(0.4, 1, 7):
            luma = np.asarray(cv2.resize(portrait[:, :, 1], None, fx=scale, fy=scale), dtype=np.uint8)
            expected, got = exact.detect(luma), int8.detect(luma)
            assert len(got) == len(expected) == 1
            assert iou_matrix(np.array([expected[0].box_xyxy]), np.array([got[0].box_xyxy]))[0, 0] > 0.85
            wanted = np.array(expected[0].landmarks)
            distances = np.linalg.norm(np.array(got[0].landmarks) - wanted, axis=1)
            errors.append(distances.mean() / np.linalg.norm(wanted[1] - wanted[0]))
    # Less than following may use on average (5 % of the eye distance).
    assert np.mean(errors) < 0.035


def test_the_int8_file_is_a_quarter_of_the_exact_one() -> None:
    store = ModelStore(ModelSettings())
    exact, int8 = store.path_of("centerface"), store.path_of("centerface-int8")
    assert int8.stat().st_size < exact.stat().st_size / 3


def test_ranges_of_another_model_are_refused() -> None:
    store = ModelStore(ModelSettings())
    published = store.path_of("centerface")
    with pytest.raises(ManifestError):
        quantized(fused(published.read_bytes()), ranges={"x": (0.0, 1.0)})
    with pytest.raises(ManifestError):
        prepare_centerface(b"no model")
