"""Cuts are seen, movement and light are no cuts; new things are told from known faces."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.track.scene import has_new_motion, is_cut, is_cut_around, thumbnail_of


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


def test_people_who_moved_meanwhile_are_no_cut_but_another_room_is() -> None:
    """The dark and the bright head change places within a second, before a plain wall."""
    wall = scene(5) // 6 + 100
    pictures = []
    for left, right in ((30, 220), (220, 30)):
        picture = wall.copy()
        picture[60:260, 80:260], picture[60:260, 380:560] = left, right
        pictures.append(thumbnail_of(picture))
    faces = [face(110, 90, 120), face(410, 90, 120)]
    other = thumbnail_of(scene(6))
    assert is_cut(*pictures)
    for elapsed_seconds, expected in ((0.04, True), (0.2, False), (1.0, False), (5.0, False)):
        for after, is_expected in ((pictures[1], expected), (other, True)):
            assert is_expected is is_cut_around(
                pictures[0], after, elapsed_seconds=elapsed_seconds, faces=faces, frame_width=640
            )


def test_two_walls_of_very_different_contrast_are_two_rooms() -> None:
    plain = scene(5) // 8 + 100
    assert not is_cut(thumbnail_of(scene(5)), thumbnail_of(plain)), "between neighbours light is no difference"
    assert is_cut_around(thumbnail_of(scene(5)), thumbnail_of(plain), elapsed_seconds=1, faces=[], frame_width=640)


def test_where_faces_fill_the_picture_all_of_it_is_compared() -> None:
    before, after = thumbnail_of(scene(1)), thumbnail_of(scene(101))
    everything = [face(0, 0, 640)]
    assert is_cut_around(before, after, elapsed_seconds=1, faces=everything, frame_width=640)
    assert not is_cut_around(before, before, elapsed_seconds=1, faces=everything, frame_width=640)


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
