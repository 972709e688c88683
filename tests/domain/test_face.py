"""Faces and crops check their shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from emostream.domain.face import NUM_LANDMARKS, Crop, Face
from emostream.testing.fakes import face_at
from tests.strategies import faces


@given(faces())
def test_sides_are_positive(face: Face) -> None:
    assert face.width > 0
    assert face.height > 0
    assert face.box_xyxy[0] + face.width == pytest.approx(face.box_xyxy[2])


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0, 0, 1, 0), (5, 0, 1, 1), (float("nan"), 0, 1, 1)])
def test_an_empty_box_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError):
        Face(box, 0.9, ((0.0, 0.0),) * NUM_LANDMARKS)


@pytest.mark.parametrize("num_landmarks", [1, 4, 6])
def test_another_number_of_landmarks_is_refused(num_landmarks: int) -> None:
    with pytest.raises(ValueError, match="5 "):
        Face((0, 0, 1, 1), 0.9, ((0.0, 0.0),) * num_landmarks)


def test_faces_compare_by_value_and_are_hashable() -> None:
    assert face_at(1, 2) == face_at(1, 2)
    assert len({face_at(1, 2), face_at(1, 2), face_at(1, 3)}) == 2


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((64, 32), np.uint8), np.zeros((64, 64, 1), np.uint8), np.zeros((64, 64), np.float32)],
    ids=["oblong", "channels", "float"],
)
def test_a_crop_of_another_shape_is_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Crop(pixels, face_at(0, 0), 0)


def test_a_crop_prints_its_shape_not_its_pixels() -> None:
    assert repr(Crop(np.zeros((64, 64), np.uint8), face_at(0, 0), 7)) == "Crop(64×64, frame_index=7, track_id=None)"
