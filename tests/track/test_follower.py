"""When the detector is asked, what is reported in between, and what survives a miss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from emostream.config import TrackSettings
from emostream.face import Face
from emostream.frame import Frame, Luma
from emostream.track.follower import FaceFollower, FollowedFaces
from tests.track.test_flow import face_at, texture

FPS = 25
BACKGROUND = texture(detail=4)


def frame_of(index: int, luma: Luma) -> Frame:
    return Frame("s", index, index / FPS, datetime(2026, 1, 1, tzinfo=UTC), luma)


class ScriptedDetector:
    """Answers with the faces of the frame that is searched, and counts the searches."""

    def __init__(self) -> None:
        self.faces: list[Face] = []
        self.num_calls = 0

    def __call__(self, luma: Luma) -> list[Face]:
        self.num_calls += 1
        return list(self.faces)


def run(
    pictures: Sequence[Luma],
    faces_in: Callable[[int], list[Face]],
    *,
    detections_per_second: float = 5,
    settings: TrackSettings | None = None,
) -> list[FollowedFaces]:
    detector = ScriptedDetector()
    follower = FaceFollower(detector, settings=settings or TrackSettings(), detections_per_second=detections_per_second)
    result = []
    for index, luma in enumerate(pictures):
        detector.faces = faces_in(index)
        result.append(follower.follow(frame_of(index, luma)))
    assert detector.num_calls == sum(followed.was_detected for followed in result)
    return result


def test_searches_a_calm_picture_at_half_the_rate_and_follows_in_between() -> None:
    person = texture(seed=8)[:80, :80]
    pictures = []
    for index in range(25):
        luma = np.full((240, 320), 128, np.uint8)
        luma[80:160, 80 + 2 * index : 160 + 2 * index] = person
        pictures.append(luma)
    result = run(pictures, lambda index: [face_at(120 + 2 * index, 120)])
    assert [index for index, followed in enumerate(result) if followed.was_detected] == [0, 10, 20]
    for index, followed in enumerate(result):
        (face,) = followed.faces
        assert face.track_id == 0
        assert face.found_by == ("detector" if followed.was_detected else "flow")
        x0, _, x1, _ = face.box_xyxy
        assert (x0 + x1) / 2 == pytest.approx(120 + 2 * index, abs=1.0)


def test_streams_that_start_together_do_not_search_together() -> None:
    searched = []
    for phase in (0.0, 0.3, 0.7):
        follower = FaceFollower(lambda luma: [], settings=TrackSettings(), detections_per_second=5, phase=phase)
        found = [follower.follow(frame_of(index, BACKGROUND)) for index in range(30)]
        searched.append([index for index, followed in enumerate(found) if followed.was_detected])
    assert searched == [[0, 10, 20], [0, 7, 17, 27], [0, 3, 13, 23]]


def test_a_rate_above_the_frame_rate_searches_every_frame() -> None:
    result = run([BACKGROUND] * 10, lambda index: [face_at(120, 120)], detections_per_second=1000)
    assert all(followed.was_detected for followed in result)


def test_no_face_means_nothing_to_follow() -> None:
    result = run([BACKGROUND] * 21, lambda index: [])
    assert sum(followed.was_detected for followed in result) == 3
    assert all(followed.faces == () for followed in result)


def test_searches_at_once_when_a_face_cannot_be_followed() -> None:
    covered = BACKGROUND.copy()
    covered[80:160, 80:160] = texture(seed=5)[80:160, 80:160]
    result = run([BACKGROUND, BACKGROUND, covered, covered], lambda index: [face_at(120, 120)] if index < 2 else [])
    assert [followed.was_detected for followed in result] == [True, False, True, False]
    assert result[2].faces == ()


def test_scene_cut_ends_all_tracks_and_searches_at_once() -> None:
    other = texture(seed=77, detail=4)
    result = run([BACKGROUND, BACKGROUND, other, other], lambda index: [face_at(120, 120)])
    assert [followed.was_detected for followed in result] == [True, False, True, False]
    assert result[2].ended_track_ids == (0,)
    assert [followed.faces[0].track_id for followed in result] == [0, 0, 1, 1]


def test_another_size_of_the_picture_ends_all_tracks_and_searches_at_once() -> None:
    """The thumbnails of both sizes are the same, and the face in the corner lies outside the smaller picture."""
    large = np.asarray(cv2.resize(BACKGROUND, None, fx=2, fy=2), dtype=np.uint8)
    centres = [(600, 440), (600, 440), (300, 220), (300, 220)]
    result = run([large, large, BACKGROUND, BACKGROUND], lambda index: [face_at(*centres[index])])
    assert [followed.was_detected for followed in result] == [True, False, True, False]
    assert result[2].ended_track_ids == (0,)
    assert [followed.faces[0].track_id for followed in result] == [0, 0, 1, 1]


def test_new_motion_brings_the_search_forward() -> None:
    changed = BACKGROUND.copy()
    changed[20:90, 220:290] = 255
    result = run([BACKGROUND] + [changed] * 10, lambda index: [])
    assert [index for index, followed in enumerate(result) if followed.was_detected] == [0, 5]


def test_a_face_that_changes_is_looked_at_at_the_full_rate() -> None:
    """Moving as a whole is no change: the flow follows that exactly."""

    def bent(index: int) -> Luma:
        rows_columns = np.indices(BACKGROUND.shape).astype(np.float32)
        bend = (0.25 * index * np.sin(rows_columns[1] / 12)).astype(np.float32)
        picture = cv2.remap(BACKGROUND, rows_columns[1], rows_columns[0] + bend, cv2.INTER_LINEAR)
        return np.asarray(picture, dtype=np.uint8)

    still = run([BACKGROUND] * 11, lambda index: [face_at(120, 120)])
    changing = run([bent(index) for index in range(11)], lambda index: [face_at(120, 120)])
    assert [index for index, followed in enumerate(still) if followed.was_detected] == [0, 10]
    assert [index for index, followed in enumerate(changing) if followed.was_detected] == [0, 5, 10]


def test_face_missed_once_is_kept_until_an_early_second_look() -> None:
    result = run([BACKGROUND] * 18, lambda index: [] if index == 10 else [face_at(120, 120)])
    assert [index for index, followed in enumerate(result) if followed.was_detected] == [0, 10, 15]
    assert {face.track_id for followed in result for face in followed.faces} == {0}
    assert all(len(followed.faces) == 1 for followed in result)


def test_face_missed_twice_is_gone_and_its_track_ends_in_time() -> None:
    settings = TrackSettings(max_lost_seconds=0.5)
    result = run([BACKGROUND] * 40, lambda index: [face_at(120, 120)] if index < 10 else [], settings=settings)
    assert [len(followed.faces) for followed in result] == [1] * 15 + [0] * 25
    ended = [index for index, followed in enumerate(result) if followed.ended_track_ids]
    assert len(ended) == 1
    assert 14 / FPS + 0.5 < ended[0] / FPS <= 14 / FPS + 0.5 + 0.08


def test_two_boxes_on_one_face_are_looked_at_again() -> None:
    """Flow alone would carry both tracks along with the face in front."""
    result = run([BACKGROUND] * 3, lambda index: [face_at(120, 120), face_at(140, 120, side=50)])
    assert all(followed.was_detected for followed in result)


def test_another_frame_size_starts_anew() -> None:
    pictures = [BACKGROUND, BACKGROUND, np.ascontiguousarray(BACKGROUND.T)]
    result = run(pictures, lambda index: [face_at(100, 100)])
    assert result[2].was_detected
    assert result[2].faces[0].track_id == 1


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (2, 400)], ids=str)
def test_tiny_frames(shape: tuple[int, int]) -> None:
    result = run([np.zeros(shape, np.uint8)] * 3, lambda index: [])
    assert all(followed.faces == () for followed in result)


def test_times_add_up() -> None:
    ticks = iter(range(1000))
    follower = FaceFollower(lambda luma: [], settings=TrackSettings(), clock=lambda: float(next(ticks)))
    followed = follower.follow(frame_of(0, BACKGROUND))
    assert (followed.detect_seconds, followed.follow_seconds) == (1.0, 2.0)
    followed = follower.follow(frame_of(1, BACKGROUND))
    assert (followed.detect_seconds, followed.follow_seconds) == (0.0, 1.0)
