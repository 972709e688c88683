"""Nobody is clear just before a face is found or just after it was lost, and no frame is lost or held too long."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Frame, Luma
from emostream.vision.track.covers import HOLD_SECONDS, CoveredFrame, FaceCovers
from tests.vision.track.test_flow import face_at, texture

FPS = 25
BACKGROUND = texture(detail=4)
PERSON = texture(seed=8)[:80, :80]


def frame_of(index: int, luma: Luma, *, pts_seconds: float | None = None) -> Frame:
    pts_seconds = index / FPS if pts_seconds is None else pts_seconds
    return Frame("s", index, pts_seconds, datetime(2026, 1, 1, tzinfo=UTC), luma)


def walking(index: int) -> tuple[Luma, Face]:
    """Somebody who walks to the right, and where the face is."""
    luma, left = BACKGROUND.copy(), 4 * index
    luma[80:160, left : left + 80] = PERSON
    return luma, face_at(left + 40, 120)


def run(pictures: list[Luma], found: list[list[Face]], *, is_live: bool = False) -> list[CoveredFrame]:
    covers = FaceCovers(is_live=is_live)
    ready = [
        each
        for index, (luma, faces) in enumerate(zip(pictures, found, strict=True))
        for each in covers.add(frame_of(index, luma), faces)
    ]
    ready += covers.finish()
    assert [each.frame.frame_index for each in ready] == list(range(len(pictures)))
    return ready


def covered_share(face: Face, boxes: tuple[BoxXyxy, ...]) -> float:
    """How much of a face is under one of the boxes at most."""
    x0, y0, x1, y1 = face.box_xyxy
    shares = [
        max(min(x1, right) - max(x0, left), 0) * max(min(y1, bottom) - max(y0, top), 0) / ((x1 - x0) * (y1 - y0))
        for left, top, right, bottom in boxes
    ]
    return max(shares, default=0.0)


def test_a_face_found_late_is_covered_where_it_was_before() -> None:
    walk = [walking(index) for index in range(30)]
    ready = run([luma for luma, _ in walk], [[face] if index >= 10 else [] for index, (_, face) in enumerate(walk)])
    for (_, face), each in zip(walk, ready, strict=True):
        assert covered_share(face, each.boxes) > 0.95, each.frame.frame_index


def test_a_face_lost_early_is_covered_where_it_goes() -> None:
    walk = [walking(index) for index in range(30)]
    ready = run([luma for luma, _ in walk], [[face] if index < 10 else [] for index, (_, face) in enumerate(walk)])
    shares = [covered_share(face, each.boxes) for (_, face), each in zip(walk, ready, strict=True)]
    num_held = round(HOLD_SECONDS * FPS)
    assert min(shares[: 10 + num_held - 1]) > 0.95
    assert max(shares[10 + num_held + 1 :]) == 0


@pytest.mark.parametrize("is_live", [False, True], ids=["file", "live"])
def test_a_face_missed_in_between_stays_covered(*, is_live: bool) -> None:
    walk = [walking(index) for index in range(30)]
    found = [[] if 10 <= index < 20 and index != 15 else [face] for index, (_, face) in enumerate(walk)]
    ready = run([luma for luma, _ in walk], found, is_live=is_live)
    for (_, face), each in zip(walk, ready, strict=True):
        assert covered_share(face, each.boxes) > 0.95, each.frame.frame_index


def test_a_flash_does_not_uncover_anybody() -> None:
    """In one white frame, which looks like two cuts, the search finds nothing; a shadow of the face may be seen."""
    pictures = [BACKGROUND] * 20
    pictures[10] = np.full_like(BACKGROUND, 250)
    ready = run(pictures, [[] if index in (10, 11) else [face_at(120, 120)] for index in range(20)])
    assert all(covered_share(face_at(120, 120), each.boxes) > 0.95 for each in ready)


def test_a_face_that_is_always_found_is_covered_once() -> None:
    walk = [walking(index) for index in range(20)]
    ready = run([luma for luma, _ in walk], [[face] for _, face in walk])
    assert [each.boxes for each in ready] == [(face.box_xyxy,) for _, face in walk]


def test_another_size_of_the_picture_ends_what_is_carried() -> None:
    small = np.ascontiguousarray(BACKGROUND[::2, ::2])
    ready = run([BACKGROUND] * 3 + [small] * 3, [[face_at(120, 120)]] * 3 + [[]] * 3)
    assert [len(each.boxes) for each in ready] == [1, 1, 1, 0, 0, 0]


def test_while_live_every_frame_comes_back_at_once() -> None:
    covers = FaceCovers(is_live=True)
    for index in range(5):
        (ready,) = covers.add(frame_of(index, BACKGROUND), [])
        assert ready.frame.frame_index == index
    assert covers.finish() == []


@given(
    steps=st.lists(st.floats(0.001, 1.5), min_size=1, max_size=40),
    found=st.lists(st.lists(st.builds(face_at, st.floats(-20, 340), st.floats(-20, 260)), max_size=3), min_size=40),
)
def test_laws_for_any_frames(steps: list[float], found: list[list[Face]]) -> None:
    """Every frame comes back once and in order, holds what was found in it, and waits no longer than it must."""
    covers, ready, pts_seconds = FaceCovers(), [], 0.0
    for index, step in enumerate(steps):
        pts_seconds += step
        ready += covers.add(frame_of(index, BACKGROUND, pts_seconds=pts_seconds), found[index])
        waiting = index + 1 - len(ready)
        assert sum(steps[index + 1 - waiting + 1 : index + 1]) <= HOLD_SECONDS + 1e-9
    ready += covers.finish()
    assert [each.frame.frame_index for each in ready] == list(range(len(steps)))
    for each, faces in zip(ready, found, strict=False):
        assert {face.box_xyxy for face in faces} <= set(each.boxes)
