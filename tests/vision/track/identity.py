"""How well ids stay with people: IDF1 (Ristani et al., 2016), and ids, misses and switches on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emostream.domain.face import BoxXyxy
from emostream.domain.frame import Frame
from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.track.association import cheapest_pairs
from emostream.vision.track.follower import FaceFollower
from tests.vision.track.people_clips import FPS, Shot, frames_from

MIN_IOU = 0.3  # the detector's boxes and those of the truth differ in height by a fifth
_MIN_VISIBLE = 0.5

Labelled = Sequence[tuple[int, BoxXyxy]]
"""Who or which id, and where."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The figures of one clip, or the sum of several.

    Attributes:
        num_true, num_given: faces, over all frames.
        num_matched: faces whose id is the one that belongs to their person, each person having one id at most.
        num_people, num_ids: different ones.
        num_switches: times that a person's face carries another id than when it was last seen.
    """

    num_true: int
    num_given: int
    num_matched: int
    num_people: int
    num_ids: int
    num_switches: int

    @property
    def idf1(self) -> float:
        """1 when every face has the id of its person, and no person two."""
        return 2 * self.num_matched / max(self.num_true + self.num_given, 1)

    def __add__(self, other: Identity) -> Identity:
        return Identity(
            self.num_true + other.num_true,
            self.num_given + other.num_given,
            self.num_matched + other.num_matched,
            self.num_people + other.num_people,
            self.num_ids + other.num_ids,
            self.num_switches + other.num_switches,
        )


def identity_of(truth: Sequence[Labelled], given: Sequence[Labelled]) -> Identity:
    """Compare frame by frame."""
    together: Counter[tuple[int, int]] = Counter()
    id_of: dict[int, int] = {}
    num_switches = 0
    for faces, tracks in zip(truth, given, strict=True):
        for person, track_id in _pairs(faces, tracks):
            together[person, track_id] += 1
            num_switches += id_of.get(person, track_id) != track_id
            id_of[person] = track_id
    people = sorted({person for faces in truth for person, _ in faces})
    ids = sorted({track_id for tracks in given for track_id, _ in tracks})
    shared = [[together[person, track_id] for track_id in ids] for person in people]
    pairs = cheapest_pairs([[-float(count) for count in row] for row in shared])
    return Identity(
        sum(map(len, truth)),
        sum(map(len, given)),
        sum(shared[row][column] for row, column in pairs),
        len(people),
        len(ids),
        num_switches,
    )


def identity_on(shots: Sequence[Shot], follower: FaceFollower, *, every: int = 1) -> Identity:
    """Follow one of so many pictures, and compare."""
    return identity_of(*labelled_on(shots, ids_from(follower), every=every))


def ids_from(follower: FaceFollower) -> Callable[[Frame], Labelled]:
    """The ids that a follower gives."""
    return lambda frame: [(face.track_id or 0, face.box_xyxy) for face in follower.follow(frame).faces]


def labelled_on(
    shots: Sequence[Shot], ids_in: Callable[[Frame], Labelled], *, every: int = 1
) -> tuple[list[Labelled], list[Labelled]]:
    """The truth and the ids given in one of so many pictures.

    Who is covered by more than half counts neither as seen nor as missed.
    """
    shots = shots[::every]
    truth: list[Labelled] = []
    given: list[Labelled] = []
    for shot, frame in zip(shots, frames_from(shots, fps=FPS / every), strict=True):
        tracks = ids_in(frame)
        people = [(face.person, face.box_xyxy) for face in shot.faces]
        covered = {face.person for face in shot.faces if face.visible < _MIN_VISIBLE}
        of_covered = {track_id for person, track_id in _pairs(people, tracks) if person in covered}
        truth.append([face for face in people if face[0] not in covered])
        given.append([track for track in tracks if track[0] not in of_covered])
    return truth, given


def _pairs(faces: Labelled, tracks: Labelled) -> list[tuple[int, int]]:
    if not faces or not tracks:
        return []
    overlaps = iou_matrix(np.array([box for _, box in faces]), np.array([box for _, box in tracks]))
    pairs = cheapest_pairs((1 - overlaps).tolist())
    return [(faces[row][0], tracks[column][0]) for row, column in pairs if overlaps[row, column] >= MIN_IOU]
