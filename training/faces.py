"""FaceSet: labelled pictures in memory, whatever form they came in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.classify.preprocess import batch_from_pictures
from emostream.errors import SourceRejectedError
from training.labels import FERPLUS_COLUMNS, check_labels


@dataclass(frozen=True, slots=True, eq=False)
class FaceSet:
    """Labelled pictures in the order of their source.

    Attributes:
        pictures: uint8 n×s×s, gray, framed like FER2013.
        labels: int64 n, class index in the order of `EMOTIONS`.
        votes: float32 n×10, FER+ votes in the order of `FERPLUS_COLUMNS`, or None where the data has none.
        blank: bool n, pictures of one single level.
        duplicate_of_training: bool n, exact copies of a training picture, or None where that is not known.
        subjects: str n, who is in the picture, "" where that is not known; None where nobody is known.
    """

    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32] | None
    blank: npt.NDArray[np.bool_]
    duplicate_of_training: npt.NDArray[np.bool_] | None
    subjects: npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def __repr__(self) -> str:
        votes = "without votes" if self.votes is None else "with votes"
        return f"FaceSet({len(self)} pictures {self.pictures.shape[1]}×{self.pictures.shape[2]}, {votes})"

    def take(self, index: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> FaceSet:
        """The pictures at these places."""
        return FaceSet(
            self.pictures[index],
            self.labels[index],
            None if self.votes is None else self.votes[index],
            self.blank[index],
            None if self.duplicate_of_training is None else self.duplicate_of_training[index],
            None if self.subjects is None else self.subjects[index],
        )

    def without_blank(self) -> FaceSet:
        """All but the pictures of one single level."""
        return self.take(~self.blank)


def build_face_set(
    pictures: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    source: Path,
    votes: npt.NDArray[np.float32] | None = None,
    duplicate_of_training: npt.NDArray[np.bool_] | None = None,
    subjects: npt.NDArray[np.str_] | None = None,
) -> FaceSet:
    """Check that all parts fit each other and find the blank pictures.

    Raises:
        SourceRejectedError: no pictures, lengths that differ, labels out of range, wrong vote columns.
    """
    num = len(pictures)
    if num == 0:
        raise SourceRejectedError(f"{source} holds no pictures")
    parts = {
        "labels": labels,
        "votes": votes,
        "duplicate_of_training": duplicate_of_training,
        "subjects": subjects,
    }
    for name, part in parts.items():
        if part is not None and len(part) != num:
            raise SourceRejectedError(f"{source}: expected {name} for {num} pictures, got {len(part)}")
    problem = check_labels(labels)
    if problem is not None:
        raise SourceRejectedError(f"{source}: {problem}")
    if votes is not None and votes.shape[1:] != (len(FERPLUS_COLUMNS),):
        raise SourceRejectedError(
            f"{source}: expected votes n×{len(FERPLUS_COLUMNS)} ({', '.join(FERPLUS_COLUMNS)}), got {votes.shape}"
        )
    if votes is not None and not (np.isfinite(votes).all() and (votes >= 0).all()):
        raise SourceRejectedError(f"{source}: expected votes of 0 and more, got a negative or missing value")
    flat = pictures.reshape(num, -1)
    blank = flat.min(axis=1) == flat.max(axis=1)
    return FaceSet(pictures, labels, votes, blank, duplicate_of_training, subjects)


def join_face_sets(parts: list[FaceSet]) -> FaceSet:
    """One set after the other.

    Votes or duplicates are dropped when one of the parts does not know them; a part without subjects gets "" for
    them. Pictures of different sizes are all brought to the size of a crop.
    """
    votes = [part.votes for part in parts if part.votes is not None]
    duplicates = [part.duplicate_of_training for part in parts if part.duplicate_of_training is not None]
    pictures = [part.pictures for part in parts]
    if len({part.shape[1:] for part in pictures}) > 1:
        pictures = [batch_from_pictures(part) for part in pictures]
    return FaceSet(
        np.concatenate(pictures),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(votes) if len(votes) == len(parts) else None,
        np.concatenate([part.blank for part in parts]),
        np.concatenate(duplicates) if len(duplicates) == len(parts) else None,
        _joined_subjects(parts),
    )


def _joined_subjects(parts: list[FaceSet]) -> npt.NDArray[np.str_] | None:
    if all(part.subjects is None for part in parts):
        return None
    unknown = [np.full(len(part), "") if part.subjects is None else part.subjects for part in parts]
    return np.concatenate(unknown)


def read_gray(path: Path) -> npt.NDArray[np.uint8]:
    """A picture file as uint8 H×W gray.

    Raises:
        SourceRejectedError: the file does not exist or is no picture.
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as exc:
        raise SourceRejectedError(f"picture {path} cannot be read: {exc.strerror}") from exc
    picture = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if picture is None:
        raise SourceRejectedError(f"picture {path} cannot be read: not a picture, or damaged")
    return np.asarray(picture, dtype=np.uint8)
