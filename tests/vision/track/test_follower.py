"""When the detector is asked, what is reported in between, and what survives a miss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from emostream.config import TrackSettings
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.vision.track.follower import FaceFollower, FollowedFaces
from tests.vision.track.test_flow import face_at, texture

FPS = 25
BACKGROUND = texture(detail=4)


def frame_of(index: int, luma: Luma, *, pts_seconds: float | None = None) -> Frame:
    pts_seconds = index / FPS if pts_seconds is None else pts_seconds
    return Frame("s", index, pts_seconds, datetime(2026, 1, 1, tzinfo=UTC), luma)


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
    fps: float = FPS,
    times: Sequence[float] | None = None,
) -> list[FollowedFaces]:
    detector = ScriptedDetector()
    follower = FaceFollower(detector, settings=settings or TrackSettings(), detections_per_second=detections_per_second)
    result = []
    for index, luma in enumerate(pictures):
        detector.faces = faces_in(index)
        pts_seconds = index / fps if times is None else times[index]
        result.append(follower.follow(frame_of(index, luma, pts_seconds=pts_seconds)))
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


def test_a_detector_that_trembles_makes_boxes_tremble_less() -> None:
    chance = np.random.default_rng(0)
    places = 120 + chance.normal(0, 1.5, (60, 2))
    luma = np.full((240, 320), 128, np.uint8)
    luma[80:160, 80:160] = texture(seed=8)[:80, :80]
    result = run([luma] * 60, lambda index: [face_at(*places[index])], detections_per_second=1e6)
    boxes = np.array([followed.faces[0].box_xyxy for followed in result])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.abs(np.diff(centres, axis=0)).mean() < 0.6 * np.abs(np.diff(places, axis=0)).mean()
    np.testing.assert_allclose(centres[10:].mean(axis=0), 120, atol=1)


def test_a_face_that_is_found_far_from_where_it_was_followed_to_is_where_it_was_found() -> None:
    luma = np.full((240, 320), 128, np.uint8)
    luma[80:160, 80:160] = texture(seed=8)[:80, :80]
    result = run([luma] * 2, lambda index: [face_at(120 + 11 * index, 120)], detections_per_second=1e6)
    assert result[1].faces[0].box_xyxy == face_at(131, 120).box_xyxy
    assert result[1].faces[0].track_id == 0


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


OTHER_SCENE = texture(seed=77, detail=4)
BAD_PICTURES = {
    "black": np.full_like(BACKGROUND, 16),
    "white": np.full_like(BACKGROUND, 235),
    "gray": np.full_like(BACKGROUND, 128),
    "smeared": np.repeat(BACKGROUND[60:61], len(BACKGROUND), axis=0),
    "another": OTHER_SCENE,
}


def ids_in(result: Sequence[FollowedFaces]) -> list[list[int | None]]:
    return [[face.track_id for face in followed.faces] for followed in result]


def test_a_scene_cut_starts_new_tracks_and_searches_at_once() -> None:
    result = run([BACKGROUND] * 2 + [OTHER_SCENE] * 100, lambda index: [face_at(120, 120)])
    assert [followed.was_detected for followed in result[:4]] == [True, False, True, False]
    assert ids_in(result) == [[0]] * 2 + [[1]] * 100
    ended = {index: followed.ended_track_ids for index, followed in enumerate(result) if followed.ended_track_ids}
    assert list(ended.values()) == [(0,)], "once the picture has not returned"
    assert 2 / FPS < min(ended) / FPS < 4


@pytest.mark.parametrize("bad", BAD_PICTURES)
@pytest.mark.parametrize(("num_bad", "fps"), [(1, 25), (5, 25), (1, 5), (1, 1), (1, 0.4)])
def test_a_bad_picture_ends_no_track(bad: str, num_bad: int, fps: float) -> None:
    pictures = [BACKGROUND] * 6 + [BAD_PICTURES[bad]] * num_bad + [BACKGROUND] * 6
    is_bad = [picture is not BACKGROUND for picture in pictures]
    result = run(pictures, lambda index: [] if is_bad[index] else [face_at(100, 120), face_at(230, 110)], fps=fps)
    assert ids_in(result) == [[] if bad else [0, 1] for bad in is_bad]
    assert not any(followed.ended_track_ids for followed in result)


def test_two_different_bad_pictures_end_no_track() -> None:
    pictures = [BACKGROUND, BACKGROUND, *BAD_PICTURES.values(), BACKGROUND, BACKGROUND]
    is_bad = [picture is not BACKGROUND for picture in pictures]
    result = run(pictures, lambda index: [] if is_bad[index] else [face_at(120, 120)])
    assert ids_in(result) == [[] if bad else [0] for bad in is_bad]


@pytest.mark.parametrize(("num_away", "is_kept"), [(25, True), (60, True), (100, False)])
def test_a_look_elsewhere_gives_tracks_back_for_a_moment(num_away: int, *, is_kept: bool) -> None:
    """A cut to somebody else at the same place, and back."""
    pictures = [BACKGROUND] * 5 + [OTHER_SCENE] * num_away + [BACKGROUND] * 5
    result = run(pictures, lambda index: [face_at(120, 120)])
    assert ids_in(result) == [[0]] * 5 + [[1]] * num_away + [[0 if is_kept else 2]] * 5


def test_many_cuts_in_a_row_are_not_all_remembered() -> None:
    scenes = [texture(seed=200 + number, detail=4) for number in range(20)]
    result = run([scene for scene in scenes for _ in range(2)], lambda index: [face_at(120, 120)])
    assert ids_in(result) == [[number] for number in range(20) for _ in range(2)]
    ended = [track_id for followed in result for track_id in followed.ended_track_ids]
    assert ended == list(range(len(ended))) and len(ended) >= 14


@pytest.mark.parametrize("fps", [25, 5, 1, 1 / 1.25, 0.4])
def test_people_who_move_keep_their_ids_at_any_frame_rate(fps: float) -> None:
    """Two of them, on a background of low contrast: the thumbnails show little but them."""
    step = 2 if fps == 25 else 8
    plain = (0.3 * BACKGROUND + 90).astype(np.uint8)
    people = [texture(seed=8)[:80, :80], texture(seed=9)[:80, :80]]
    centres = [[(60 + step * index, 60), (260 - step * index, 180)] for index in range(20)]
    pictures = []
    for places in centres:
        luma = plain.copy()
        for (x, y), person in zip(places, people, strict=True):
            luma[y - 40 : y + 40, x - 40 : x + 40] = person
        pictures.append(luma)
    result = run(pictures, lambda index: [face_at(*place, side=80) for place in centres[index]], fps=fps)
    assert ids_in(result) == [[0, 1]] * 20
    for followed, places in zip(result, centres, strict=True):
        for face, (x, _) in zip(followed.faces, places, strict=True):
            assert (face.box_xyxy[0] + face.box_xyxy[2]) / 2 == pytest.approx(x, abs=2)


@pytest.mark.parametrize("gap_seconds", [1.5, 2.0, 5.0])
def test_a_time_without_a_picture_ends_no_track(gap_seconds: float) -> None:
    times = [index / FPS + (gap_seconds if index >= 10 else 0) for index in range(20)]
    result = run([BACKGROUND] * 20, lambda index: [face_at(120, 120)], times=times)
    assert ids_in(result) == [[0]] * 20


def test_a_long_pause_ends_tracks_unless_pictures_are_always_that_rare() -> None:
    paused = [index / FPS + (60 if index >= 10 else 0) for index in range(20)]
    result = run([BACKGROUND] * 20, lambda index: [face_at(120, 120)], times=paused)
    assert ids_in(result) == [[0]] * 10 + [[1]] * 10
    assert result[10].ended_track_ids == (0,)
    seldom = [60.0 * index for index in range(20)]
    assert ids_in(run([BACKGROUND] * 20, lambda index: [face_at(120, 120)], times=seldom)) == [[0]] * 20


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
