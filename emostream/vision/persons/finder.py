"""Groups the tracks of a stream into persons, by what their faces look like to `embedding.py`.

A person is the mean vector of some of their faces. A new track is compared with the persons who are not in the picture:
who is seen at the same time as another is not that other. It continues the nearest person when near enough, is a new
person when far from all, and is looked at again shortly in between. Vectors are computed only when there is something
to compare, and pictures of faces wait for it until then: a clip in which all people stay costs next to nothing.

Pictures and vectors are kept in memory only, as long as this object lives, or for the given time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.vision.persons.embedding import EMBEDDING_SIZE, Embeddings, chip_of
from emostream.vision.track.follower import FollowedFaces

# Cosine of the mean of a new track's vectors and of a person's, by how many the track has: at least the first is the
# same person, below the second another one. `tests.benchmarks.persons` measures faces of 24 pixels and more, of one
# person at another time (0.5th percentile) and of two (99th and 99.5th): of one vector 0.941, and 0.928, 0.932; of two
# 0.962, and 0.928, 0.932; of three 0.971, and 0.931, 0.937. Somebody who covers her face with her hands has 0.914,
# 0.920 and 0.936.
_LIMITS = ((0.95, 0.88), (0.945, 0.90), (0.935, 0.935))
_MIN_FACE_PIXELS = 24.0
_LOOK_AGAIN_SECONDS = 0.3
# Of each person some faces are kept: the first ones close together, later ones at growing intervals.
_MAX_LOOKS = 8
_FIRST_INTERVAL_SECONDS = 1.0
_INTERVAL_GROWTH = 1.5


@dataclass(slots=True)
class _Mean:
    """The mean of some faces' vectors; those of `waiting` are not computed yet."""

    waiting: list[Luma] = field(default_factory=list)
    total: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(EMBEDDING_SIZE, np.float32))
    num: int = 0

    def add(self, chip: Luma) -> None:
        """Add a face."""
        self.waiting.append(chip)
        self.num += 1

    def vector(self, embed: Callable[[npt.NDArray[np.uint8]], Embeddings]) -> npt.NDArray[np.float32]:
        """The mean, of length 1; zeros before there is a face."""
        if self.waiting:
            self.total = self.total + embed(np.stack(self.waiting)).sum(axis=0)
            self.waiting = []
        return self.total / max(float(np.linalg.norm(self.total)), 1e-9)


@dataclass(slots=True)
class _Person:
    person_id: int
    mean: _Mean
    seen_seconds: float
    look_seconds: float = -math.inf
    interval_seconds: float = _FIRST_INTERVAL_SECONDS


@dataclass(slots=True)
class _Newcomer:
    mean: _Mean
    look_seconds: float


class PersonFinder:
    """Names the person of each face of one stream. Called from one thread at a time, frame by frame, in order.

    Args:
        embed: chips of faces (uint8, n×150×150, full range) to vectors (float32, n×128, of length 1).
        forget_after_seconds: persons who were not seen for this long are forgotten; who comes back later is a new one.
        max_persons: beyond it, those who were not seen for longest are forgotten.
    """

    def __init__(
        self,
        embed: Callable[[npt.NDArray[np.uint8]], Embeddings],
        *,
        forget_after_seconds: float = math.inf,
        max_persons: int = 1000,
    ) -> None:
        self._embed = embed
        self._forget_after_seconds = forget_after_seconds
        self._max_persons = max_persons
        self._num_found = 0
        self._persons: dict[int, _Person] = {}
        self._person_of_track: dict[int | None, int] = {}
        self._newcomers: dict[int | None, _Newcomer] = {}

    def name(self, frame: Frame, followed: FollowedFaces) -> FollowedFaces:
        """The same faces with `person_id`, as far as it is known.

        Raises:
            ManifestError, InferenceError: the faces could not be compared.
        """
        now = frame.pts_seconds
        present = {self._person_of_track.get(face.track_id) for face in followed.faces}
        for face in followed.faces:
            person = self._persons.get(self._person_of_track.get(face.track_id, 0))  # 0 is no person's number
            if person is None:
                person = self._person_of(frame, face, present=present)
            if person is not None:
                present.add(person.person_id)
                self._see(person, frame, face)
        self._forget(followed.ended_track_ids, present, now=now)
        known = self._person_of_track
        faces = tuple(replace(face, person_id=known.get(face.track_id)) for face in followed.faces)
        return replace(followed, faces=faces)

    def _person_of(self, frame: Frame, face: Face, *, present: set[int | None]) -> _Person | None:
        """Who a new track is; None while that is not clear."""
        self._person_of_track.pop(face.track_id, None)  # of a person who was forgotten
        newcomer = self._newcomers.setdefault(face.track_id, _Newcomer(_Mean(), -math.inf))
        absent = [person for person in self._persons.values() if person.person_id not in present]
        if not absent:
            return self._found(frame, face.track_id, newcomer.mean)
        if frame.pts_seconds < newcomer.look_seconds or (chip := _clear_chip(frame, face)) is None:
            return None
        newcomer.look_seconds = frame.pts_seconds + _LOOK_AGAIN_SECONDS
        newcomer.mean.add(chip)
        vector = newcomer.mean.vector(self._embed)
        alike = [float(vector @ person.mean.vector(self._embed)) for person in absent]
        same, other = _LIMITS[min(newcomer.mean.num, len(_LIMITS)) - 1]
        if max(alike) >= same:
            return self._returned(frame, face.track_id, newcomer.mean, absent[alike.index(max(alike))])
        return self._found(frame, face.track_id, newcomer.mean) if max(alike) < other else None

    def _found(self, frame: Frame, track_id: int | None, mean: _Mean) -> _Person:
        """A new person."""
        self._num_found += 1
        person = _Person(self._num_found, _Mean(), frame.pts_seconds)
        self._persons[person.person_id] = person
        return self._returned(frame, track_id, mean, person)

    def _returned(self, frame: Frame, track_id: int | None, mean: _Mean, person: _Person) -> _Person:
        """The person continues with a new track."""
        self._person_of_track[track_id] = person.person_id
        self._newcomers.pop(track_id, None)
        if mean.num:
            person.look_seconds = frame.pts_seconds + person.interval_seconds
            if person.mean.num < _MAX_LOOKS:
                person.mean.total = person.mean.total + mean.total
                person.mean.num += mean.num
        return person

    def _see(self, person: _Person, frame: Frame, face: Face) -> None:
        """Keep a face of a person now and then."""
        person.seen_seconds = frame.pts_seconds
        if person.mean.num >= _MAX_LOOKS or frame.pts_seconds < person.look_seconds:
            return
        if (chip := _clear_chip(frame, face)) is not None:
            person.mean.add(chip)
            person.look_seconds = frame.pts_seconds + person.interval_seconds
            person.interval_seconds *= _INTERVAL_GROWTH

    def _forget(self, ended_track_ids: Sequence[int], present: set[int | None], *, now: float) -> None:
        for track_id in ended_track_ids:
            self._person_of_track.pop(track_id, None)
            self._newcomers.pop(track_id, None)
        last = now - self._forget_after_seconds
        old = [each.person_id for each in self._persons.values() if each.seen_seconds < last]
        if num_more := max(len(self._persons) - len(old) - self._max_persons, 0):
            by_time = sorted(self._persons.values(), key=lambda each: each.seen_seconds)
            old += [each.person_id for each in by_time if each.person_id not in old and each.person_id not in present][
                :num_more
            ]
        for person_id in old:
            del self._persons[person_id]


def _clear_chip(frame: Frame, face: Face) -> Luma | None:
    """The picture of a face that is worth comparing; None when it is not."""
    if face.found_by != "detector" or face.height < _MIN_FACE_PIXELS:
        return None
    chip = chip_of(frame.luma, face)
    return None if chip is None else frame.full_luma(chip)
