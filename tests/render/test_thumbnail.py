"""Small pictures of faces: the right part of the picture, everywhere in it, unrecognisable where asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from emostream.domain.event import FaceEmotion
from emostream.domain.face import Face
from emostream.render.thumbnail import face_jpeg
from tests.render.report.events import scores


def face_in(box: tuple[float, float, float, float]) -> FaceEmotion:
    return FaceEmotion(Face(box, 0.9, (), track_id=1), scores("happy"), scores("happy"))


def decoded(jpeg: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))[:, :, ::-1].astype(int)


def test_the_face_is_in_the_middle() -> None:
    rgb = np.full((240, 320, 3), 30, np.uint8)
    rgb[80:140, 200:260] = (220, 60, 60)
    face = face_in((200, 80, 260, 140))
    small = decoded(face_jpeg(rgb, face, is_blurred=False))
    assert small.shape == (128, 128, 3)
    assert np.abs(small[64, 64] - (220, 60, 60)).max() < 12
    assert small[4, 4].max() < 50


@pytest.mark.parametrize("box", [(-40, -40, 20, 20), (310, 230, 400, 400), (500, 500, 520, 520), (0, 0, 2000, 2000)])
def test_boxes_over_the_border(box: tuple[float, float, float, float]) -> None:
    face = face_in(box)
    small = decoded(face_jpeg(np.zeros((240, 320, 3), np.uint8), face, is_blurred=True))
    assert max(small.shape) == 128


def test_blurring_leaves_a_few_cells() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    face = face_in((100, 60, 220, 180))
    blurred, clear = (decoded(face_jpeg(rgb, face, is_blurred=is_blurred)) for is_blurred in (True, False))
    assert blurred[40:90, 40:90].std() < clear[40:90, 40:90].std() / 3
    assert blurred[:, :16].std() < clear[:, :16].std() / 3, "nor is anybody beside the face"
