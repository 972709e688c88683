"""Tracks of real faces in made clips, grouped into persons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from emostream.config import ModelSettings, load_settings
from emostream.domain.face import Face
from emostream.domain.frame import Frame
from emostream.errors import ManifestError
from emostream.pipeline.build import load_chosen_detector
from emostream.testing.fakes import face_at
from emostream.vision.models.store import ModelStore
from emostream.vision.persons.embedding import CHIP_SIZE_PIXELS, EMBEDDING_SIZE, Embeddings, FaceEmbedder, chip_of
from emostream.vision.persons.finder import PersonFinder
from emostream.vision.track.follower import FaceFollower, FollowedFaces
from tests.vision.track.people_clips import Person, Scene, Shot, along, frames_from, shots_of

_FPS = 10.0


@pytest.fixture(scope="module")
def embedder() -> FaceEmbedder:
    return FaceEmbedder(ModelStore(ModelSettings()).verify("persons").path)


def _shots(*scenes: Sequence[int]) -> list[Shot]:
    """Scenes of two seconds with these people, and nobody for two seconds between them."""
    made = []
    for number, people in enumerate(scenes):
        cast = [Person(who, along((200 + 220 * who, 180), (1, 0), 110)) for who in people]
        made += [Scene(2 * number, 20, cast), Scene(2 * number + 1, 20, [])]
    return list(shots_of(made))


def _persons_of(shots: Sequence[Shot], finder: PersonFinder) -> dict[int, set[int | None]]:
    """Who it is → the persons named for it; and each track has at most one person."""
    settings = load_settings()
    follower = FaceFollower(load_chosen_detector(settings).detect, settings=settings.track)
    named: defaultdict[int, set[int | None]] = defaultdict(set)
    of_track: defaultdict[int | None, set[int | None]] = defaultdict(set)
    for shot, frame in zip(shots, frames_from(shots, fps=_FPS), strict=True):
        for face in finder.name(frame, follower.follow(frame)).faces:
            x = (face.box_xyxy[0] + face.box_xyxy[2]) / 2
            (who,) = (true.person for true in shot.faces if true.box_xyxy[0] < x < true.box_xyxy[2])
            named[who].add(face.person_id)
            of_track[face.track_id].add(face.person_id)
    assert len(of_track) > len(named), "nobody returned as another track"
    assert all(len(persons - {None}) == 1 for persons in of_track.values())
    return named


def test_who_returns_is_the_same_person(embedder: FaceEmbedder) -> None:
    named = _persons_of(_shots([0], [1], [1, 0]), PersonFinder(embedder.embed))
    assert {who: persons - {None} for who, persons in named.items()} == {0: {1}, 1: {2}}


@pytest.mark.parametrize(
    "limit", [{"forget_after_seconds": 1.0}, {"max_persons": 1}], ids=lambda limit: next(iter(limit))
)
def test_who_was_forgotten_is_another_person(embedder: FaceEmbedder, limit: dict[str, float]) -> None:
    named = _persons_of(_shots([0], [1], [0]), PersonFinder(embedder.embed, **limit))  # type: ignore[arg-type]
    assert {who: persons - {None} for who, persons in named.items()} == {0: {1, 3}, 1: {2}}


def test_nothing_is_computed_while_all_persons_stay_in_view() -> None:
    def embed(chips: npt.NDArray[np.uint8]) -> Embeddings:
        raise AssertionError("there is nobody to compare with")

    finder, start = PersonFinder(embed), datetime(2026, 1, 1, tzinfo=UTC)
    faces = tuple(replace(face_at(60 + 120 * number, 60), track_id=number) for number in range(3))
    for index in range(100):
        at = start + timedelta(seconds=index / 10)
        frame = Frame("clip", index, index / 10, at, np.full((120, 400), 90, np.uint8))
        named = finder.name(frame, FollowedFaces(faces, (), True, 0.0, 0.0))
        assert [face.person_id for face in named.faces] == [1, 2, 3]


def test_vectors_of_one_person_lie_closer_than_those_of_two(embedder: FaceEmbedder) -> None:
    detect = load_chosen_detector(load_settings()).detect
    chips = []
    for scene in ([0], [1]):
        for frame in frames_from(_shots(scene)[:20:6], fps=_FPS):
            (face,) = detect(frame.luma)
            chip = chip_of(frame.luma, face)
            assert chip is not None
            chips.append(chip)
    vectors = embedder.embed(np.stack(chips))
    assert vectors.shape == (8, EMBEDDING_SIZE)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-4)
    cosines = vectors @ vectors.T
    assert min(cosines[:4, :4].min(), cosines[4:, 4:].min()) > 0.95
    assert cosines[:4, 4:].max() < 0.92


@pytest.mark.parametrize(
    "landmarks", [((20.0, 20.0),) * 5, ((0.0, 0.0), (1e-9, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 1e-9))]
)
def test_landmarks_without_extent_make_a_picture_of_the_box(landmarks: tuple[tuple[float, float], ...]) -> None:
    luma = np.zeros((100, 100), np.uint8)
    luma[10:40, 10:40] = 200
    chip = chip_of(luma, Face((10.0, 10.0, 40.0, 40.0), 0.9, landmarks))
    assert chip is not None and chip.shape == (CHIP_SIZE_PIXELS, CHIP_SIZE_PIXELS)
    assert chip[30:120, 30:120].min() == 200


def test_a_file_that_is_no_such_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "persons.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ManifestError):
        FaceEmbedder(path).embed(np.zeros((1, CHIP_SIZE_PIXELS, CHIP_SIZE_PIXELS), np.uint8))
