"""The statistics of a data report, computed from the splits of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EMOTIONS
from training.data.duplicates import DuplicatePairs, duplicate_groups, exact_groups, near_duplicates
from training.data.face_set import FaceSet, join_face_sets
from training.data.labels import FERPLUS_COLUMNS, NO_MAJORITY, majority_labels, vote_distributions

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SplitStatistics:
    """One split in numbers.

    Attributes:
        num_pictures: all of them.
        class_counts: class → pictures.
        num_blank: pictures of one single level.
        num_subjects: different people, None where subjects are not known.
        quantiles: name of a measure (`measures`) → its values at QUANTILES.
    """

    num_pictures: int
    class_counts: dict[str, int]
    num_blank: int
    num_subjects: int | None
    quantiles: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class SharedPictures:
    """How many pictures of one split are also in another: `exact` copies, and `same` photographs (copies included)."""

    of_split: str
    in_split: str
    exact: int
    same: int


@dataclass(frozen=True, slots=True)
class DuplicateStatistics:
    """Duplicates over all splits together.

    Attributes:
        num_exact_copies: pictures equal to an earlier one.
        num_near_pairs: pairs that are the same photograph but not equal; `num_mirrored_pairs` of them mirrored.
        num_groups: photographs that are there more than once, as `num_grouped_pictures` pictures.
        largest_group: pictures of the most frequent one.
        num_mixed_groups: photographs that have different labels, with `num_mixed_pictures` pictures.
        shared: what splits have in common, each way.
        num_shared_subjects: people in more than one split, None where subjects are not known.
    """

    num_exact_copies: int
    num_near_pairs: int
    num_mirrored_pairs: int
    num_groups: int
    num_grouped_pictures: int
    largest_group: int
    num_mixed_groups: int
    num_mixed_pictures: int
    shared: tuple[SharedPictures, ...]
    num_shared_subjects: int | None


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """Labels of the data set against the majority of the FER+ votes, blank pictures left out.

    Attributes:
        share: of pictures whose majority is one of the classes, those whose label is the same.
        matrix: label × majority, in the order of `EMOTIONS`; the last column counts pictures without a majority among
            the classes.
        mean_entropy_bits: of the votes for the classes; 0 where all agree, 2.8 where the seven are equally likely.
    """

    share: float
    matrix: tuple[tuple[int, ...], ...]
    mean_entropy_bits: float


@dataclass(frozen=True, slots=True)
class DataStatistics:
    """All numbers of a report; `agreement` is None where the data has no votes."""

    splits: dict[str, SplitStatistics]
    duplicates: DuplicateStatistics
    agreement: LabelAgreement | None


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """Duplicates over the joined splits: places count on from split to split.

    Attributes:
        faces: all splits, joined.
        split: int64 n, number of the split of each picture.
        exact: int64 n, `exact_groups`.
        groups: int64 n, `duplicate_groups`.
        near: `near_duplicates`.
    """

    faces: FaceSet
    split: npt.NDArray[np.int64]
    exact: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    near: DuplicatePairs


def find_duplicates(splits: Mapping[str, FaceSet], *, show_progress: bool = False) -> Duplicates:
    """Search all splits together."""
    faces = join_face_sets(list(splits.values()))
    near = near_duplicates(faces.pictures, show_progress=show_progress)
    return Duplicates(
        faces=faces,
        split=np.repeat(np.arange(len(splits)), [len(part) for part in splits.values()]),
        exact=exact_groups(faces.pictures),
        groups=duplicate_groups(faces.pictures, near=near),
        near=near,
    )


def data_statistics(splits: Mapping[str, FaceSet], duplicates: Duplicates) -> DataStatistics:
    """The numbers of splits (name → pictures) and of the duplicates found in them."""
    return DataStatistics(
        splits={name: split_statistics(faces) for name, faces in splits.items()},
        duplicates=duplicate_statistics(tuple(splits), duplicates),
        agreement=label_agreement(duplicates.faces),
    )


def split_statistics(faces: FaceSet) -> SplitStatistics:
    """The numbers of one split."""
    counts = np.bincount(faces.labels, minlength=len(faces.class_names))
    known = None if faces.subjects is None else set(faces.subjects.tolist()) - {""}
    return SplitStatistics(
        num_pictures=len(faces),
        class_counts=dict(zip(faces.class_names, counts.tolist(), strict=True)),
        num_blank=int(faces.blank.sum()),
        num_subjects=None if known is None else len(known),
        quantiles={
            name: tuple(round(float(value), 2) for value in np.quantile(values, QUANTILES))
            for name, values in measures(faces).items()
        },
    )


def measures(faces: FaceSet) -> dict[str, Values]:
    """Name → a value for each picture: brightness and contrast in levels of 255, sharpness as a variance.

    Sharpness is the variance of the Laplacian, the usual measure of focus (Pech-Pacheco and others, 2000).
    """
    flat = faces.pictures.reshape(len(faces), -1)
    return {
        "brightness": flat.mean(axis=1),
        "contrast": flat.std(axis=1),
        "sharpness": np.array([cv2.Laplacian(picture, cv2.CV_64F).var() for picture in faces.pictures]),
    }


def duplicate_statistics(names: tuple[str, ...], found: Duplicates) -> DuplicateStatistics:
    """Counts of duplicates; `names` are those of the splits, in their order."""
    sizes = np.bincount(found.groups)
    repeated = sizes > 1
    labels_per_group = np.zeros((len(sizes), len(found.faces.class_names)), dtype=np.bool_)
    labels_per_group[found.groups, found.faces.labels] = True
    mixed = labels_per_group.sum(axis=1) > 1
    return DuplicateStatistics(
        num_exact_copies=int((found.exact != np.arange(len(found.exact))).sum()),
        num_near_pairs=len(found.near),
        num_mirrored_pairs=int(found.near.mirrored.sum()),
        num_groups=int(repeated.sum()),
        num_grouped_pictures=int(sizes[repeated].sum()),
        largest_group=int(sizes.max()),
        num_mixed_groups=int(mixed.sum()),
        num_mixed_pictures=int(sizes[mixed].sum()),
        shared=tuple(
            SharedPictures(
                of_split=names[one],
                in_split=names[other],
                exact=_num_also_in(found.exact, found.split, one, other),
                same=_num_also_in(found.groups, found.split, one, other),
            )
            for one, other in permutations(range(len(names)), 2)
        ),
        num_shared_subjects=_num_shared_subjects(found),
    )


def _num_also_in(groups: npt.NDArray[np.int64], split: npt.NDArray[np.int64], one: int, other: int) -> int:
    return int(np.isin(groups[split == one], groups[split == other]).sum())


def _num_shared_subjects(found: Duplicates) -> int | None:
    subjects = found.faces.subjects
    if subjects is None:
        return None
    seen = {(name, part) for name, part in zip(subjects.tolist(), found.split.tolist(), strict=True) if name}
    num_splits = Counter(name for name, _ in seen)
    return sum(count > 1 for count in num_splits.values())


def label_agreement(faces: FaceSet) -> LabelAgreement | None:
    """Labels against the majority of votes; None without votes."""
    faces = faces.without_blank()
    if faces.votes is None or len(faces) == 0:
        return None
    majority = majority_labels(faces.votes)
    matrix = np.zeros((len(EMOTIONS), len(EMOTIONS) + 1), dtype=np.int64)
    np.add.at(matrix, (faces.labels, np.where(majority == NO_MAJORITY, len(EMOTIONS), majority)), 1)
    num_known = int(matrix[:, :-1].sum())
    return LabelAgreement(
        share=float(np.trace(matrix)) / num_known if num_known else float("nan"),
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        mean_entropy_bits=round(float(vote_entropy_bits(faces).mean()), 3),
    )


def vote_entropy_bits(faces: FaceSet) -> Values:
    """How much people disagree on each picture that has votes for one of the classes: float, in bits."""
    votes = np.zeros((0, len(FERPLUS_COLUMNS))) if faces.votes is None else faces.votes
    shares = vote_distributions(votes).astype(np.float64)
    shares = shares[shares.sum(axis=1) > 0]
    logarithms = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logarithms).sum(axis=1), dtype=np.float64)
