"""Cuts are seen, movement and light are no cuts; new things are told from known faces."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.face import Face
from emostream.frame import Luma
from emostream.track.scene import has_new_motion, is_cut, thumbnail_of


def scene(seed: int, *, width: int = 640, height: int = 360) -> Luma:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(height, width)), (0, 0), width / 12)
    return np.asarray(np.clip(110 + noise * 40 / noise.std(), 0, 255), dtype=np.uint8)


def face(x: float, y: float, side: float) -> Face:
    return Face(box_xyxy=(x, y, x + side, y + side), score=0.9, landmarks=((x + 1, y + 1),) * 5)


@given(st.integers(1, 700), st.integers(1, 700))
def test_thumbnail_is_small_and_keeps_the_mean(width: int, height: int) -> None:
    thumbnail = thumbnail_of(np.full((height, width), 131, np.uint8))
    assert min(thumbnail.shape) >= 1 and max(thumbnail.shape) <= 48
    assert (thumbnail == 131).all()


def test_thumbnail_never_shares_memory_with_the_frame() -> None:
    luma = scene(0, width=40, height=30)
    assert not np.shares_memory(thumbnail_of(luma), luma)


@pytest.mark.parametrize("seed", range(5))
def test_another_scene_is_a_cut(seed: int) -> None:
    assert is_cut(thumbnail_of(scene(seed)), thumbnail_of(scene(seed + 100)))


def test_one_scene_is_no_cut_when_it_moves_or_gets_darker() -> None:
    before = scene(1)
    for after in (before, np.roll(before, 12, axis=1), (before * 0.5).astype(np.uint8), before // 3 + 60):
        assert not is_cut(thumbnail_of(before), thumbnail_of(after))


def test_flat_pictures() -> None:
    black, white, picture = np.zeros((20, 30), np.uint8), np.full((20, 30), 255, np.uint8), thumbnail_of(scene(1))
    assert not is_cut(black, white)  # a flash or a fade has no content to compare
    assert is_cut(np.zeros_like(picture), picture)
    assert is_cut(picture, np.zeros_like(picture))


def test_another_frame_size_is_a_cut() -> None:
    assert is_cut(thumbnail_of(scene(1)), thumbnail_of(scene(1, width=360, height=640)))


def test_new_motion_is_what_changes_outside_known_faces() -> None:
    before = scene(3)
    after = before.copy()
    after[100:200, 300:400] = 255
    reference, current = thumbnail_of(before), thumbnail_of(after)
    assert not has_new_motion(reference, reference, faces=[], frame_width=640)
    assert has_new_motion(reference, current, faces=[], frame_width=640)
    assert has_new_motion(reference, current, faces=[face(20, 20, 100)], frame_width=640)
    assert not has_new_motion(reference, current, faces=[face(300, 100, 100)], frame_width=640)
    assert not has_new_motion(reference, current, faces=[face(-50, -50, 800)], frame_width=640)
