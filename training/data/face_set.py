"""FaceSet: labelled pictures in memory, whatever form they came in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EMOTIONS
from emostream.domain.event import class_name_problem
from emostream.errors import SourceRejectedError
from emostream.vision.classify.preprocess import batch_from_pictures
from training.data.labels import CONTEMPT_NAME, FERPLUS_COLUMNS, check_labels, majority_labels, place_of_class


@dataclass(frozen=True, slots=True, eq=False)
class FaceSet:
    """Labelled pictures in the order of their source.

    Attributes:
        pictures: uint8 n×s×s, gray, framed like FER2013.
        labels: int64 n, places in `class_names`.
        votes: float32 n×10, FER+ votes in the order of `FERPLUS_COLUMNS`, or None where the data has none.
        blank: bool n, pictures of one single level.
        duplicate_of_training: bool n, exact copies of a training picture, or None where that is not known.
        subjects: str n, who is in the picture, "" where that is not known; None where no subject is known.
        class_names: what the labels stand for. Votes are there with those of `EMOTIONS` only.
    """

    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.float32] | None
    blank: npt.NDArray[np.bool_]
    duplicate_of_training: npt.NDArray[np.bool_] | None
    subjects: npt.NDArray[np.str_] | None = None
    class_names: tuple[str, ...] = EMOTIONS

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
            self.class_names,
        )

    @property
    def has_votes(self) -> bool:
        """Whether people's votes name one of the classes for at least one picture."""
        return self.votes is not None and bool((majority_labels(self.votes) >= 0).any())

    def unknown_classes(self, class_names: Sequence[str]) -> list[str]:
        """The classes of these pictures that such a list does not have."""
        here = [self.class_names[label] for label in np.unique(self.labels)]
        return [name for name in here if place_of_class(name, class_names) is None]

    def without_foreign_contempt(self, class_names: Sequence[str]) -> FaceSet:
        """Without the pictures of contempt, where a net of these classes does not know it.

        Raises:
            SourceRejectedError: nothing remains.
        """
        if CONTEMPT_NAME not in self.class_names or place_of_class(CONTEMPT_NAME, class_names) is not None:
            return self
        kept = self.labels != self.class_names.index(CONTEMPT_NAME)
        if not kept.any():
            raise SourceRejectedError(f"all pictures are of {CONTEMPT_NAME}, which is none of {', '.join(class_names)}")
        return self.take(kept)

    def with_classes(self, class_names: tuple[str, ...]) -> FaceSet:
        """The same pictures with these classes, by name; votes, which are for those of `EMOTIONS`, are left out.

        Raises:
            SourceRejectedError: a picture is of a class that is not among them.
        """
        if class_names == self.class_names:
            return self
        unknown = self.unknown_classes(class_names)
        if unknown:
            raise SourceRejectedError(
                f"expected pictures of {', '.join(class_names)}; got some of {', '.join(unknown)}, too"
            )
        # What has no place here, no picture has.
        places = np.array([place_of_class(name, class_names) or 0 for name in self.class_names], dtype=np.int64)
        return dataclasses.replace(self, labels=places[self.labels], votes=None, class_names=class_names)

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
    class_names: tuple[str, ...] = EMOTIONS,
) -> FaceSet:
    """Check that all parts fit each other and find the blank pictures.

    Raises:
        SourceRejectedError: no pictures, lengths that differ, labels out of range, wrong vote columns, names of classes
            that events cannot carry.
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
    problem = next(filter(None, map(class_name_problem, class_names)), None)
    if problem is not None:
        raise SourceRejectedError(f"{source}: a class cannot be called so: {problem}; choose another name")
    problem = check_labels(labels, class_names)
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
    return FaceSet(pictures, labels, votes, blank, duplicate_of_training, subjects, class_names)


def join_face_sets(parts: list[FaceSet]) -> FaceSet:
    """One set after the other.

    Votes or duplicates are dropped when one of the parts does not know them; a part without subjects gets "" for
    them. Pictures of different sizes are all brought to the size of a crop. Classes are those of all parts, by name.
    """
    class_names = common_classes(parts)
    parts = [part.with_classes(class_names) for part in parts]
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
        class_names,
    )


def common_classes(parts: Sequence[FaceSet]) -> tuple[str, ...]:
    """The classes of all parts, each once, in the order in which they come."""
    class_names = parts[0].class_names
    for part in parts[1:]:
        class_names += tuple(name for name in part.class_names if place_of_class(name, class_names) is None)
    return class_names


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
