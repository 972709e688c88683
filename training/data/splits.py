"""Parts of a set between which nothing leaks: a photograph, or a person where known, is in one part only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emostream.errors import ConfigError
from training.data.duplicates import duplicate_groups, joined_groups
from training.data.face_set import FaceSet, join_face_sets


def leak_groups(faces: FaceSet) -> npt.NDArray[np.int64]:
    """int64 n: equal numbers for pictures that must stay together: duplicates of each other, or of one subject."""
    groups = duplicate_groups(faces.pictures)
    if faces.subjects is None:
        return groups
    places = np.flatnonzero(faces.subjects != "")
    _, first, inverse = np.unique(faces.subjects[places], return_index=True, return_inverse=True)
    by_subject = np.stack([places, places[first[inverse]]], axis=1)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    by_group = np.stack([np.arange(len(groups)), first[inverse]], axis=1)
    return joined_groups(len(faces), np.concatenate([by_subject, by_group]))


def split_faces(faces: FaceSet, shares: Sequence[float], *, seed: int) -> tuple[FaceSet, ...]:
    """Parts of these shares, in the order of the set, each class divided alike as far as groups allow.

    The same set, shares and seed give the same parts.

    Raises:
        ConfigError: shares that are not above 0 or do not sum to 1, or a part that stays empty.
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"expected shares above 0 that sum to 1, got {', '.join(f'{share:g}' for share in shares)}")
    assigned = assign_groups(leak_groups(faces), faces.labels, shares, seed=seed)
    parts = tuple(faces.take(assigned == part) for part in range(len(shares)))
    empty = [share for share, part in zip(shares, parts, strict=True) if len(part) == 0]
    if empty:
        raise ConfigError(
            f"{len(faces)} pictures cannot be divided into shares of {', '.join(f'{share:g}' for share in shares)}: "
            f"the share of {empty[0]:g} stays empty since duplicates and subjects are kept together; for training, "
            "name other pictures as data.validation_path"
        )
    return parts


def assign_groups(
    groups: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], shares: Sequence[float], *, seed: int
) -> npt.NDArray[np.int64]:
    """Groups int64 n (numbers from 0) and class indices n → int64 n, the part of each picture.

    Large groups first, since small ones can even out what they leave; each goes where it brings the parts nearest to
    the wanted count of each class (least squares, relative to the class).
    """
    num_groups = int(groups.max()) + 1
    counts = np.zeros((num_groups, int(labels.max()) + 1))
    np.add.at(counts, (groups, labels), 1)
    total = counts.sum(axis=0)
    weight = 1 / np.maximum(total, 1)
    # What is still missing in each part and class.
    missing = np.asarray(shares, dtype=np.float64)[:, None] * total
    order = np.random.default_rng(seed).permutation(num_groups)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    part_of_group = np.empty(num_groups, dtype=np.int64)
    for group in order:
        count = counts[group]
        # (missing − count)² − missing², all but a term that is the same for each part.
        part = int((missing @ (weight * count)).argmax())
        part_of_group[group] = part
        missing[part] -= count
    return part_of_group[groups]


def without_leaks(training: FaceSet, validation: FaceSet) -> FaceSet:
    """The training pictures without duplicates and subjects of the validation pictures."""
    groups = leak_groups(join_face_sets([training, validation]))
    return training.take(~np.isin(groups[: len(training)], groups[len(training) :]))
