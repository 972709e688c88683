"""Frames of a video: weak faces that stay are looked at again, turned heads are found if asked for, crowds are cut."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Luma
from emostream.vision.detect.quarter_turns import turned_back
from emostream.vision.detect.video_search import VideoSearch, lean_degrees
from tests.vision.detect.bright_detector import BrightDetector, face_at, picture_with

BOX = (200.0, 100.0, 300.0, 225.0)
FRAME = picture_with([BOX], width=640, height=480)
CONFIRM_SCORE = 0.5


class Looks:
    """Sees faces in parts of frames with a score of its own, and counts how often it is asked."""

    def __init__(self, score: float) -> None:
        self._detector = BrightDetector(score=score)
        self.num_looks = 0

    def __call__(self, luma: Luma) -> list[Face]:
        self.num_looks += 1
        return self._detector.detect(luma)


def weak(luma: Luma) -> list[Face]:
    return BrightDetector(score=0.4).detect(luma)


def scores(search: VideoSearch, frames: list[Luma]) -> list[float]:
    return [max((face.score for face in search(frame)), default=0.0) for frame in frames]


def test_a_weak_face_that_stays_is_confirmed_by_other_looks() -> None:
    looks = Looks(0.8)
    search = VideoSearch(weak, look=looks, confirm_score=CONFIRM_SCORE, max_faces=64)
    found = scores(search, [FRAME] * 30)
    assert found[0] < CONFIRM_SCORE
    assert all(score >= CONFIRM_SCORE for score in found[5:])
    assert looks.num_looks <= 12
    (face,) = search(FRAME)
    assert face.box_xyxy == BOX


def test_several_weak_faces_are_looked_at_one_after_another() -> None:
    boxes = [(x, 100.0, x + 80.0, 200.0) for x in (10.0, 170.0, 330.0, 490.0)]
    crowd = picture_with(boxes, width=640, height=480)
    search = VideoSearch(weak, look=Looks(0.8), confirm_score=CONFIRM_SCORE, max_faces=64)
    found = [search(crowd) for _ in range(6)]
    assert all(face.score >= CONFIRM_SCORE for face in found[-1]) and len(found[-1]) == 4


@pytest.mark.parametrize("score", [0.0, 0.3])
def test_what_other_looks_do_not_show_stays_weak(score: float) -> None:
    def look(luma: Luma) -> list[Face]:
        return BrightDetector(score=score).detect(luma) if score else []

    search = VideoSearch(weak, look=look, confirm_score=CONFIRM_SCORE, max_faces=64)
    assert max(scores(search, [FRAME] * 40)) < CONFIRM_SCORE


def scripted(boxes: list[BoxXyxy | None]) -> Callable[[Luma], list[Face]]:
    """A weak face at each of these places in turn, or none."""
    places = iter(boxes)
    return lambda luma: [face_at(box, score=0.4)] if (box := next(places)) else []


@pytest.mark.parametrize(
    ("boxes", "is_looked_at"),
    [
        ([BOX] * 12, True),
        ([(x, 100.0, x + 100.0, 225.0) for x in range(0, 540, 60)], False),
        ([(20.0, 20.0, 45.0, 55.0)] * 12, False),
        ([BOX, None] * 6, True),
        ([BOX, None, None, None] * 3, False),
    ],
    ids=["stays", "moves on", "is small", "is seen by every second search", "is rarely seen"],
)
def test_a_weak_face_is_looked_at_where_it_stays_and_is_large_enough(
    boxes: list[BoxXyxy | None], is_looked_at: bool
) -> None:
    looks = Looks(0.8)
    search = VideoSearch(scripted(boxes), look=looks, confirm_score=CONFIRM_SCORE, max_faces=64)
    scores(search, [FRAME] * len(boxes))
    assert (looks.num_looks > 0) is is_looked_at


def test_good_faces_are_as_the_detector_found_them() -> None:
    detector = BrightDetector(score=0.6)
    looks = Looks(0.9)
    search = VideoSearch(detector.detect, look=looks, confirm_score=CONFIRM_SCORE, max_faces=64, is_turned=True)
    assert [search(FRAME) for _ in range(10)] == [detector.detect(FRAME)] * 10
    assert looks.num_looks == 0


def test_rotated_heads_are_found_where_enabled_and_upright_ones_again() -> None:
    detect = BrightDetector().detect
    box = (200.0, 100.0, 325.0, 200.0)
    lying = picture_with([box], width=640, height=480)
    plain = VideoSearch(detect, look=detect, confirm_score=CONFIRM_SCORE, max_faces=64)
    assert not any(plain(lying) for _ in range(20))
    search = VideoSearch(detect, look=detect, confirm_score=CONFIRM_SCORE, max_faces=64, is_turned=True)
    found = [search(lying) for _ in range(20)]
    assert found[0] == [] and all(len(faces) == 1 for faces in found[10:])
    assert found[-1][0].box_xyxy == box
    assert [len(search(FRAME)) for _ in range(10)] == [1] * 10
    assert search(FRAME)[0].box_xyxy == BOX


@pytest.mark.parametrize(("quarters", "degrees"), [(0, 0), (1, 90), (2, 180), (3, 90)])
def test_the_lean_of_a_face_is_that_of_its_picture(quarters: int, degrees: float) -> None:
    (face,) = turned_back([face_at(BOX)], quarters, width=640, height=480)
    assert lean_degrees(face) == pytest.approx(degrees, abs=0.1)


def test_a_crowd_is_cut_to_its_best_faces_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    faces = [face_at((x * 50, 10, x * 50 + 40, 60), score=0.9 - x / 100) for x in range(5)]

    def detect(luma: Luma) -> list[Face]:
        return faces

    search = VideoSearch(detect, look=detect, confirm_score=CONFIRM_SCORE, max_faces=3, name="door")
    with caplog.at_level(logging.WARNING):
        assert [search(FRAME) for _ in range(4)] == [faces[:3]] * 4
    assert len(caplog.records) == 1


def test_what_a_size_of_frame_costs_is_said_once_for_each(caplog: pytest.LogCaptureFixture) -> None:
    detect = BrightDetector().detect

    def notice(width: int, height: int) -> str:
        return f"{width} by {height}" if width > 640 else ""

    search = VideoSearch(detect, look=detect, confirm_score=CONFIRM_SCORE, max_faces=3, notice_of_size=notice)
    large = np.zeros((720, 1280), np.uint8)
    with caplog.at_level(logging.WARNING):
        for frame in (FRAME, large, large, large):
            search(frame)
    assert ["1280 by 720" in record.message for record in caplog.records] == [True]
