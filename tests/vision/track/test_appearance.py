"""Another person in the same place gets another id; the same person keeps it over cuts, zooms and light."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.config import TrackSettings
from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Luma
from emostream.vision.track.appearance import FrameLooks, likeness, likeness_in_place, look_of
from emostream.vision.track.flow import patch_of
from emostream.vision.track.follower import FaceFollower
from tests.vision.track.people_clips import HEIGHT, WIDTH, Person, Rgb, Scene, Shot, TrueFace, frames_from, shots_of

pytestmark = pytest.mark.heavy

SECOND = 25  # frames


def face_from(box: BoxXyxy) -> Face:
    x0, y0, x1, y1 = box
    points = ((0.32, 0.4), (0.68, 0.4), (0.5, 0.6), (0.37, 0.78), (0.63, 0.78))
    return Face(box, 0.9, tuple((x0 + x * (x1 - x0), y0 + y * (y1 - y0)) for x, y in points))


def scene(number: int, num_frames: int, *, x: float = 320, height: float = 120, background: int = 3) -> list[Shot]:
    """One person who nods a little."""
    person = Person(number, lambda index: (x + 3 * np.sin(index / 5), 180 + 2 * np.sin(index / 3), height))
    return list(shots_of([Scene(background, num_frames, [person])]))


def zoomed(shot: Shot, zoom: float) -> Shot:
    """The middle of a picture, as large as all of it."""
    matrix = np.array([[zoom, 0, (1 - zoom) * WIDTH / 2], [0, zoom, (1 - zoom) * HEIGHT / 2]])
    picture = np.asarray(cv2.warpAffine(shot.rgb, matrix, (WIDTH, HEIGHT)), dtype=np.uint8)
    return Shot(picture, tuple(_through(face, matrix) for face in shot.faces))


def _through(face: TrueFace, matrix: np.ndarray) -> TrueFace:
    x0, y0, x1, y1 = face.box_xyxy
    corners = np.array([[x0, y0, 1], [x1, y1, 1]]) @ matrix.T
    return dataclasses.replace(face, box_xyxy=tuple(corners.ravel().tolist()))


def dissolved(shots: Sequence[Shot], others: Sequence[Shot]) -> list[Shot]:
    """One shot faded into another one of the same length; the face of the stronger picture is found."""
    made = []
    for index, (shot, other) in enumerate(zip(shots, others, strict=True)):
        share = (index + 1) / (len(shots) + 1)
        picture: Rgb = np.rint((1 - share) * shot.rgb + share * other.rgb).astype(np.uint8)
        made.append(Shot(picture, (shot if share < 0.5 else other).faces))
    return made


def lit(shot: Shot, gain: float, offset: float) -> Shot:
    return Shot(np.clip(gain * shot.rgb + offset, 0, 255).astype(np.uint8), shot.faces)


def ids_by_person(
    shots: Sequence[Shot], *, searches: float = 6, every: int = 1, jitter: float = 0.02, weak: Collection[int] = ()
) -> list[tuple[int, int | None]]:
    """Who is seen and which id is given, each time that one of them changes; detections are the truth and an error.

    In the frames `weak` they are too weak to start a track.
    """
    shots = shots[::every]
    chance = np.random.default_rng(1)
    frames = frames_from(shots, fps=SECOND / every)
    found: dict[int, list[Face]] = {}
    for index, (shot, frame) in enumerate(zip(shots, frames, strict=True)):
        for face in shot.faces:
            box = np.array(face.box_xyxy) + chance.normal(size=4) * jitter * (face.box_xyxy[3] - face.box_xyxy[1])
            found.setdefault(id(frame.luma), []).append(
                dataclasses.replace(face_from(tuple(box.tolist())), score=0.4 if index in weak else 0.9)
            )
    follower = FaceFollower(
        lambda luma: found.get(id(luma), []), settings=TrackSettings(), detections_per_second=searches
    )
    seen: list[tuple[int, int | None]] = []
    for shot, frame in zip(shots, frames, strict=True):
        for followed in follower.follow(frame).faces:
            if not seen or seen[-1] != (shot.faces[0].person, followed.track_id):
                seen.append((shot.faces[0].person, followed.track_id))
    return seen


both_rates = pytest.mark.parametrize("searches", [6, 1e6], ids=["sparse", "every frame"])


@both_rates
@pytest.mark.parametrize("height", [30, 60, 160])
def test_a_cut_to_another_person_in_the_same_place(searches: float, height: float) -> None:
    shots = scene(0, 30, height=height) + scene(1, 30, height=height)
    assert ids_by_person(shots, searches=searches) == [(0, 0), (1, 1)]


@both_rates
def test_another_person_who_is_found_weakly_at_first(searches: float) -> None:
    shots = scene(0, 40) + scene(1, 40)
    assert ids_by_person(shots, searches=searches, weak=range(40, 46)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("every", [2, 5])
def test_the_same_in_few_frames_per_second(every: int) -> None:
    """Over more than a third of a second, one person who turns differs as much as these two, so nothing is said."""
    shots = scene(0, 4 * SECOND) + scene(1, 4 * SECOND)
    assert ids_by_person(shots, every=every) == [(0, 0), (1, 1)]


@both_rates
def test_a_person_shown_again_after_a_cut_has_the_same_id(searches: float) -> None:
    shots = [shot for number in (0, 1, 0, 1) for shot in scene(number, 40)]
    assert ids_by_person(shots, searches=searches) == [(0, 0), (1, 1), (0, 0), (1, 1)]


@both_rates
@pytest.mark.parametrize("every", [1, 5])
def test_shot_and_reverse_shot(searches: float, every: int) -> None:
    shots = [shot for number in (0, 1, 0, 1) for shot in scene(number, 50, x=200 + 200 * number, background=number)]
    assert ids_by_person(shots, searches=searches, every=every) == [(0, 0), (1, 1), (0, 0), (1, 1)]


@both_rates
@pytest.mark.parametrize("num_frames", [8, 15, 25])
def test_a_dissolve_to_another_person(searches: float, num_frames: int) -> None:
    shots = scene(0, 30) + dissolved(scene(0, num_frames), scene(1, num_frames)) + scene(1, 40)
    seen = ids_by_person(shots, searches=searches)
    assert (seen[0], seen[-1]) == ((0, 0), (1, 1))
    assert {track_id for _, track_id in seen} == {0, 1}


@both_rates
@pytest.mark.parametrize("zoom", [1.25, 1.5, 2.5])
def test_a_zoom_within_the_take_keeps_the_id(searches: float, zoom: float) -> None:
    wide = scene(0, 120, height=70, background=6)
    shots = wide[:30] + [zoomed(shot, zoom) for shot in wide[30:60]] + wide[60:90]
    assert ids_by_person(shots, searches=searches) == [(0, 0)]


@both_rates
def test_a_jump_cut_keeps_the_id(searches: float) -> None:
    shots = scene(0, 30, x=200) + scene(0, 30, x=430, height=140)
    assert ids_by_person(shots, searches=searches) == [(0, 0)]


@both_rates
def test_a_cut_to_the_same_person_in_another_room_keeps_the_id(searches: float) -> None:
    shots = scene(0, 30, x=200) + scene(0, 30, x=430, height=160, background=8)
    assert ids_by_person(shots, searches=searches) == [(0, 0)]


@both_rates
@pytest.mark.parametrize(("gain", "offset"), [(0.4, 0), (0.5, 110), (1.6, 0)])
def test_light_that_changes_at_once_keeps_the_id(searches: float, gain: float, offset: float) -> None:
    shots = scene(0, 60)
    shots = [lit(shot, gain, offset) if index // 10 % 2 else shot for index, shot in enumerate(shots)]
    assert ids_by_person(shots, searches=searches) == [(0, 0)]


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_a_blurred_moment_keeps_the_id(sigma: float) -> None:
    """The camera focuses: the blur comes and goes within half a second."""
    shots = [
        Shot(np.asarray(cv2.GaussianBlur(shot.rgb, (0, 0), 0.1 + sigma * max(0.0, np.sin(index / 6)))), shot.faces)
        for index, shot in enumerate(scene(0, 75))
    ]
    assert ids_by_person(shots) == [(0, 0)]


def gray(shot: Shot) -> Luma:
    return np.asarray(cv2.cvtColor(shot.rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(
    number=st.integers(0, 1),
    shift=st.tuples(st.floats(-0.06, 0.06), st.floats(-0.06, 0.06)),
    growth=st.floats(0.95, 1.05),
    gain=st.floats(0.5, 1.3),
)
def test_one_person_looks_alike_whatever_the_error_of_the_box_and_the_light(
    number: int, shift: tuple[float, float], growth: float, gain: float
) -> None:
    (shot,) = scene(number, 1)
    x0, y0, x1, y1 = shot.faces[0].box_xyxy
    side = y1 - y0
    x, y = (x0 + x1) / 2 + shift[0] * side, (y0 + y1) / 2 + shift[1] * side
    half_x, half_y = growth * (x1 - x0) / 2, growth * side / 2
    other = face_from((x - half_x, y - half_y, x + half_x, y + half_y))
    face, luma, later = face_from(shot.faces[0].box_xyxy), gray(shot), gray(lit(shot, gain, 0))
    assert likeness(look_of(luma, face), look_of(later, other)) > 0.75
    assert likeness_in_place(patch_of(luma, face), later, other) > 0.9


@pytest.mark.parametrize("height", [24, 40, 120, 200])
def test_two_people_look_unlike(height: float) -> None:
    lumas = [gray(scene(number, 1, height=height)[0]) for number in (0, 1, 2, 3)]
    faces = [face_from(scene(number, 1, height=height)[0].faces[0].box_xyxy) for number in (0, 1, 2, 3)]
    for one, other in pairwise(range(4)):
        assert likeness_in_place(patch_of(lumas[one], faces[one]), lumas[other], faces[other]) < 0.75
        assert likeness(look_of(lumas[one], faces[one]), look_of(lumas[other], faces[other])) < 0.8


@pytest.mark.parametrize("is_same", [True, False])
def test_where_looks_decide_nothing_vectors_do(is_same: bool) -> None:
    """Another picture laid over a face: as like as a head that turned, or another person."""
    before, after = (shot.rgb[..., 0] for shot in (scene(0, 1)[0], scene(1, 1)[0]))
    mixed = np.asarray((0.4 * before + 0.6 * after).astype(np.uint8))
    face = face_from(scene(0, 1)[0].faces[0].box_xyxy)
    known, later = [(0.0, look_of(before, face))], dataclasses.replace(face, track_id=None)
    assert (
        0.45
        <= likeness(known[0][1], look_of(mixed, face))
        < likeness_in_place(patch_of(before, face), mixed, face)
        < 0.8
    )

    def vector_of(luma: Luma, face: Face) -> np.ndarray:
        return np.array([1, 0] if is_same or luma is not mixed else [0, 1], np.float32)

    patches = {1: patch_of(before, dataclasses.replace(face, track_id=1))}
    looks = FrameLooks(mixed, patches, gap_seconds=1.0, vector_of=vector_of)
    distance = looks.distance(1, known, later, pts_seconds=1.0)
    assert bool(np.isfinite(distance)) is is_same


@pytest.mark.parametrize("is_same", [True, False])
def test_a_face_that_is_found_again_elsewhere_is_the_same_only_if_vectors_agree(is_same: bool) -> None:
    """A person, a look elsewhere, and a face with the same looks in another scene."""
    shots = [*scene(0, SECOND), *shots_of([Scene(9, 10, [])]), *scene(0, SECOND, x=200, background=5)]
    frames = frames_from(shots)
    faces = {
        id(frame.luma): [face_from(face.box_xyxy) for face in shot.faces]
        for shot, frame in zip(shots, frames, strict=True)
    }

    def vector_of(luma: Luma, face: Face) -> np.ndarray:
        is_later = id(luma) in {id(frame.luma) for frame in frames[SECOND:]}
        return np.array([1, 0] if is_same or not is_later else [0, 1], np.float32)

    follower = FaceFollower(lambda luma: faces[id(luma)], settings=TrackSettings(), vector_of=vector_of)
    ids = {face.track_id for frame in frames for face in follower.follow(frame).faces}
    assert len(ids) == (1 if is_same else 2)


@pytest.mark.parametrize("was_beside", [True, False])
def test_who_was_weakly_seen_beside_a_track_does_not_take_its_id(was_beside: bool) -> None:
    """Two people who look the same; one goes when the other one, whom the detector hardly saw, is found."""
    here = Person(0, lambda index: (200, 180, 120) if index < SECOND else None)
    beside = Person(0, lambda index: (450, 180, 120))
    shots = list(shots_of([Scene(3, 2 * SECOND, [here, beside])]))
    frames = frames_from(shots)

    def found_in(index: int) -> list[Face]:
        faces = [face_from(face.box_xyxy) for face in shots[index].faces]
        if index >= SECOND:
            return faces
        return [faces[0], dataclasses.replace(faces[1], score=0.4)][: 1 + was_beside]

    faces = {id(frame.luma): found_in(index) for index, frame in enumerate(frames)}
    follower = FaceFollower(lambda luma: faces[id(luma)], settings=TrackSettings(), detections_per_second=1e6)
    ids = {face.track_id for frame in frames for face in follower.follow(frame).faces}
    assert ids == ({0, 1} if was_beside else {0})
