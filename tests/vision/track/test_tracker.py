"""Ids stay with their face through motion, crossing and occlusion, end in time and never come back."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.face import Face
from emostream.vision.track.tracker import FaceTracker

STEP_SECONDS = 1 / 25


def face_at(x: float, y: float = 100, *, side: float = 40, score: float = 0.9) -> Face:
    points = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    left, top = x - side / 2, y - side / 2
    return Face(
        box_xyxy=(left, top, left + side, top + side),
        score=score,
        landmarks=tuple((left + side * px, top + side * py) for px, py in points),
    )


def centre_x(face: Face) -> float:
    return (face.box_xyxy[0] + face.box_xyxy[2]) / 2


def ids_of(tracker: FaceTracker, frames: list[list[Face]], *, step_seconds: float = STEP_SECONDS) -> list[list[int]]:
    """Track ids per frame, in the order of the faces given; -1 where a face got none."""
    result = []
    for index, faces in enumerate(frames):
        update = tracker.update(faces, pts_seconds=index * step_seconds)
        by_box = {face.box_xyxy: face.track_id for face in update.faces}
        ids = [by_box.get(face.box_xyxy) for face in faces]
        result.append([-1 if track_id is None else track_id for track_id in ids])
    return result


@pytest.mark.parametrize("pixels_per_frame", [0, 3, 12, 20, -12], ids=lambda v: f"{v} px per frame")
def test_one_moving_face_keeps_its_id(pixels_per_frame: float) -> None:
    frames = [[face_at(500 + pixels_per_frame * index)] for index in range(30)]
    assert ids_of(FaceTracker(), frames) == [[0]] * 30


def test_faces_far_apart_have_their_own_ids() -> None:
    frames = [[face_at(100 + index), face_at(300 - index), face_at(200, 300)] for index in range(20)]
    assert ids_of(FaceTracker(), frames) == [[0, 1, 2]] * 20


def test_order_of_detections_does_not_matter() -> None:
    frames = [[face_at(100), face_at(300)][:: 1 if index % 2 else -1] for index in range(10)]
    assert ids_of(FaceTracker(), frames) == [[0, 1][:: 1 if index % 2 == 0 else -1] for index in range(10)]


def test_crossing_faces_keep_their_ids() -> None:
    """Two faces pass each other; while they overlap the detector sees only the nearer, larger one."""
    tracker = FaceTracker()
    left_to_right: set[int | None] = set()
    right_to_left: set[int | None] = set()
    for index in range(60):
        a, b = face_at(100 + 5 * index, side=44), face_at(400 - 5 * index)
        distance = abs(centre_x(a) - centre_x(b))
        visible = [a] if distance < 24 else [a, b]
        update = tracker.update(visible, pts_seconds=index * STEP_SECONDS)
        for face in update.faces:
            (left_to_right if face.box_xyxy == a.box_xyxy else right_to_left).add(face.track_id)
    assert left_to_right == {0} or left_to_right == {1}
    assert right_to_left == {0, 1} - left_to_right


@pytest.mark.parametrize("pixels_per_frame", [0, 4], ids=["still", "moving"])
def test_short_occlusion_keeps_the_id(pixels_per_frame: float) -> None:
    tracker = FaceTracker(max_lost_seconds=1.0)
    frames = [[] if 20 <= index < 40 else [face_at(100 + pixels_per_frame * index)] for index in range(60)]
    assert {ids[0] for ids in ids_of(tracker, frames) if ids} == {0}


def test_track_ends_after_max_lost_seconds_and_its_id_never_returns() -> None:
    tracker = FaceTracker(max_lost_seconds=0.5)
    assert tracker.update([face_at(100)], pts_seconds=0.0).faces[0].track_id == 0
    for pts_seconds in (0.2, 0.4, 0.5):
        assert tracker.update([], pts_seconds=pts_seconds).ended_track_ids == ()
    assert tracker.update([], pts_seconds=0.51).ended_track_ids == (0,)
    assert tracker.update([], pts_seconds=0.6).ended_track_ids == ()
    assert tracker.update([face_at(100)], pts_seconds=0.7).faces[0].track_id == 1


@pytest.mark.parametrize("step_seconds", [0.04, 0.2, 1.0, 1.25, 2.5, 10.0])
def test_one_person_is_one_track_at_any_frame_rate(step_seconds: float) -> None:
    """Nodding, and missed by every fifth search."""
    frames = [[face_at(100 + 4 * (index % 3))] if index % 5 else [] for index in range(1, 40)]
    assert {ids[0] for ids in ids_of(FaceTracker(), frames, step_seconds=step_seconds) if ids} == {0}


@pytest.mark.parametrize(("step_seconds", "num_frames"), [(0.04, 26), (0.2, 6), (1.0, 3), (2.5, 3), (30.0, 3)])
def test_who_is_gone_ends_after_pictures_without_the_face(step_seconds: float, num_frames: int) -> None:
    tracker = FaceTracker(max_lost_seconds=1.0)
    tracker.update([face_at(100)], pts_seconds=0.0)
    ended = [tracker.update([], pts_seconds=step_seconds * index).ended_track_ids for index in range(1, 40)]
    assert [index for index, ids in enumerate(ended, start=1) if ids] == [num_frames]


@pytest.mark.parametrize("gap_seconds", [1.5, 2.0, 5.0])
@pytest.mark.parametrize("score", [0.9, 0.4])
def test_a_time_without_any_picture_ends_no_track(gap_seconds: float, score: float) -> None:
    tracker = FaceTracker()
    for index in range(10):
        tracker.update([face_at(100), face_at(300)], pts_seconds=index * STEP_SECONDS)
    update = tracker.update([face_at(108, score=score), face_at(295, score=score)], pts_seconds=gap_seconds)
    assert [(face.track_id, centre_x(face)) for face in update.faces] == [(0, 108), (1, 295)]
    assert update.ended_track_ids == ()


@pytest.mark.parametrize("pause_seconds", [1.0, 2.0, 5.0])
def test_who_moved_before_a_pause_may_be_where_the_last_frame_was(pause_seconds: float) -> None:
    """Recorders leave out what does not change: a face that came down and turned away is where it was left."""
    tracker = FaceTracker()
    frames = [[face_at(100 + 6 * index, 100 + 5 * index, side=60 - 3 * index)] for index in range(7)]
    ids = ids_of(tracker, frames, step_seconds=1 / 12)
    update = tracker.update([face_at(137, 131, side=42)], pts_seconds=6 / 12 + pause_seconds)
    assert ids == [[0]] * 7
    assert [face.track_id for face in update.faces] == [0]


def test_a_covered_face_is_not_where_the_flow_goes() -> None:
    """A face that stands is passed by another one, which carries the flow of the covered one along."""
    tracker = FaceTracker()
    ids = {"standing": 0, "walking": 1}
    for index in range(80):
        walking, standing = face_at(120 + 2 * index), face_at(200)
        is_covered = abs(centre_x(walking) - 200) < 24
        if index % 5 == 0:
            visible = {centre_x(walking): "walking"} | ({} if is_covered else {200.0: "standing"})
            update = tracker.update([walking] if is_covered else [standing, walking], pts_seconds=index * STEP_SECONDS)
            assert {visible[centre_x(face)]: face.track_id for face in update.faces}.items() <= ids.items(), index
        else:
            followed = dataclasses.replace(walking, track_id=1, found_by="flow")
            dragged = dataclasses.replace(walking if is_covered else standing, track_id=0, found_by="flow")
            tracker.move([dragged, followed], pts_seconds=index * STEP_SECONDS)


def test_weak_detection_continues_a_track_but_never_starts_one() -> None:
    tracker = FaceTracker(confirm_score=0.6)
    assert tracker.update([face_at(100, score=0.4)], pts_seconds=0.0).faces == ()
    assert tracker.update([face_at(100, score=0.7)], pts_seconds=0.1).faces[0].track_id == 0
    (face,) = tracker.update([face_at(102, score=0.4)], pts_seconds=0.2).faces
    assert (face.track_id, face.score) == (0, 0.4)


def test_good_detection_comes_before_a_weak_one() -> None:
    tracker = FaceTracker(confirm_score=0.6)
    tracker.update([face_at(100)], pts_seconds=0.0)
    update = tracker.update([face_at(100, score=0.4), face_at(110, score=0.9)], pts_seconds=0.04)
    assert [(face.track_id, face.score) for face in update.faces] == [(0, 0.9)]


def test_a_face_of_another_size_is_another_face() -> None:
    tracker = FaceTracker()
    tracker.update([face_at(100, side=30)], pts_seconds=0.0)
    assert tracker.update([face_at(100, side=120)], pts_seconds=0.04).faces[0].track_id == 1


def test_tracks_that_were_set_aside_do_not_count_until_they_return() -> None:
    tracker = FaceTracker(max_lost_seconds=0.5)
    tracker.update([face_at(100), face_at(300)], pts_seconds=0.0)
    aside = tracker.set_aside()
    assert [track.track_id for track in aside] == [0, 1]
    assert tracker.update([face_at(100)], pts_seconds=0.04).faces[0].track_id == 2
    assert tracker.update([], pts_seconds=1.5).ended_track_ids == ()
    assert [track.track_id for track in tracker.set_aside()] == [2]
    tracker.give_back(aside)
    update = tracker.update([face_at(100)], pts_seconds=1.54)
    assert [face.track_id for face in update.faces] == [0]
    assert update.ended_track_ids == (), "the time in between counts for nobody"


def test_followed_faces_carry_their_track_along() -> None:
    """Between two detections the face goes further than a prediction from the last detection would reach."""
    tracker = FaceTracker()
    (face,) = tracker.update([face_at(100)], pts_seconds=0.0).faces
    for index in range(1, 10):
        moved = dataclasses.replace(face_at(100 + 20 * index), track_id=face.track_id, found_by="flow")
        assert tracker.move([moved], pts_seconds=index * STEP_SECONDS).faces == (moved,)
    assert tracker.update([face_at(300)], pts_seconds=10 * STEP_SECONDS).faces[0].track_id == 0


def test_move_ends_lost_tracks_and_ignores_unknown_ids() -> None:
    tracker = FaceTracker(max_lost_seconds=0.5)
    tracker.update([face_at(100)], pts_seconds=0.0)
    stranger = dataclasses.replace(face_at(300), track_id=9)
    ended: tuple[int, ...] = ()
    for index in range(1, 14):
        update = tracker.move([stranger], pts_seconds=index * STEP_SECONDS)
        assert update.faces == ()
        ended += update.ended_track_ids
    assert ended == (0,)


any_faces = st.lists(
    st.builds(face_at, st.floats(0, 600), st.floats(0, 400), side=st.floats(8, 200), score=st.floats(0.1, 1)),
    max_size=6,
)


@given(st.lists(st.tuples(any_faces, st.floats(0.001, 2)), max_size=25))
def test_laws_for_any_detections(frames: list[tuple[list[Face], float]]) -> None:
    """Ids are unique per frame, sorted, ended once, and an ended id is never seen again; nothing is invented."""
    tracker = FaceTracker()
    ended: set[int] = set()
    seen: set[int] = set()
    pts_seconds = 0.0
    for faces, step in frames:
        pts_seconds += step
        update = tracker.update(faces, pts_seconds=pts_seconds)
        ids = [face.track_id for face in update.faces]
        known = [track_id for track_id in ids if track_id is not None]
        assert known == sorted(set(ids))  # type: ignore[type-var]
        assert not ended & set(update.ended_track_ids)
        assert set(update.ended_track_ids) <= seen
        ended |= set(update.ended_track_ids)
        seen |= set(known)
        assert not ended & set(known)
        assert {face.box_xyxy for face in update.faces} <= {face.box_xyxy for face in faces}
        confident = [face for face in faces if face.score >= 0.6]
        assert {face.box_xyxy for face in confident} <= {face.box_xyxy for face in update.faces}


def test_weak_detections_ask_for_more_searches_for_a_moment() -> None:
    def asked_for(face: Face) -> list[bool]:
        tracker = FaceTracker()
        asked = []
        for index in range(10):
            tracker.update([face], pts_seconds=0.15 * index)
            asked.append(tracker.has_newly_unconfirmed)
        return asked

    assert asked_for(face_at(100, score=0.4)) == [True] * 5 + [False] * 5
    assert asked_for(face_at(100, score=0.9)) == asked_for(face_at(100, side=30, score=0.4)) == [False] * 10


def test_weak_detections_that_a_track_continues_ask_for_nothing() -> None:
    tracker = FaceTracker()
    for index in range(5):
        tracker.update([face_at(100, score=0.4 if index else 0.9)], pts_seconds=0.1 * index)
    assert not tracker.has_newly_unconfirmed


def test_weak_detections_are_forgotten_with_the_scene() -> None:
    tracker = FaceTracker()
    tracker.update([face_at(100, score=0.4)], pts_seconds=0.0)
    tracker.set_aside()
    assert not tracker.has_newly_unconfirmed
