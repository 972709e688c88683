"""Splits never leak, have the shares that were asked for, and are the same each time."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.errors import ConfigError
from tests.training.made import made_faces
from training.data.face_set import FaceSet
from training.data.splits import assign_groups, leak_groups, split_faces, without_leaks

SHARES = (0.6, 0.3, 0.1)


def with_subjects(faces: FaceSet, names: list[str]) -> FaceSet:
    return dataclasses.replace(faces, subjects=np.array(names))


def bytes_of(faces: FaceSet) -> set[bytes]:
    return {picture.tobytes() for picture in faces.pictures}


@st.composite
def grouped(draw: st.DrawFn) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Groups numbered from 0 without gaps, and a class for each picture."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=60))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    seed = draw(st.integers(0, 2**32 - 1))
    return groups, np.random.default_rng(seed).integers(0, 7, len(groups))


@settings(deadline=None)
@given(grouped(), st.integers(0, 100))
def test_a_group_is_never_divided_and_shares_are_near(
    made: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], seed: int
) -> None:
    groups, labels = made
    parts = assign_groups(groups, labels, SHARES, seed=seed)
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in set(groups.tolist()))
    np.testing.assert_array_equal(parts, assign_groups(groups, labels, SHARES, seed=seed))
    largest = int(np.bincount(groups).max())
    for part, share in enumerate(SHARES):
        for label in range(7):
            total = int((labels == label).sum())
            # What one group more or less in each part can move.
            assert abs(int((labels[parts == part] == label).sum()) - share * total) <= len(SHARES) * largest


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), st.integers(0, 100))
def test_without_groups_each_class_is_divided_to_the_picture(labels: list[int], seed: int) -> None:
    classes = np.array(labels)
    parts = assign_groups(np.arange(len(labels)), classes, SHARES, seed=seed)
    for label in set(labels):
        counts = np.bincount(parts[classes == label], minlength=len(SHARES))
        assert np.abs(counts - np.array(SHARES) * counts.sum()).max() <= 1


def test_another_seed_gives_other_parts() -> None:
    labels = np.arange(70) % 7
    first = assign_groups(np.arange(70), labels, (0.5, 0.5), seed=1)
    assert not np.array_equal(first, assign_groups(np.arange(70), labels, (0.5, 0.5), seed=2))


def test_duplicates_stay_together() -> None:
    faces = made_faces(60)
    faces.pictures[30:45] = faces.pictures[:15]
    for seed in range(3):
        first, second = split_faces(faces, (0.5, 0.5), seed=seed)
        assert len(first) + len(second) == 60
        assert not bytes_of(first) & bytes_of(second)


def test_subjects_stay_together_and_an_unknown_subject_is_none() -> None:
    names = [f"S{k % 6}" if k < 30 else "" for k in range(60)]
    faces = with_subjects(made_faces(60), names)
    first, second = split_faces(faces, (0.5, 0.5), seed=0)
    assert first.subjects is not None
    assert second.subjects is not None
    assert set(first.subjects) & set(second.subjects) == {""}


def test_subjects_and_duplicates_are_joined() -> None:
    faces = with_subjects(made_faces(6), ["a", "a", "b", "b", "", ""])
    faces.pictures[2] = faces.pictures[1]
    groups = leak_groups(faces)
    assert len(set(groups[:4].tolist())) == 1
    assert len(set(groups.tolist())) == 3


def test_parts_keep_the_order_of_the_set() -> None:
    faces = made_faces(40)
    first, _ = split_faces(faces, (0.7, 0.3), seed=0)
    places = [next(k for k in range(40) if np.array_equal(faces.pictures[k], picture)) for picture in first.pictures]
    assert places == sorted(places)


def test_without_leaks_removes_copies_and_known_people() -> None:
    training = with_subjects(made_faces(20), [f"S{k}" for k in range(20)])
    validation = with_subjects(made_faces(5, seed=1), ["S3", "", "T1", "T2", "T3"])
    validation.pictures[2] = training.pictures[7]
    validation.pictures[4] = np.clip(training.pictures[9].astype(int) + 20, 0, 255)
    kept = without_leaks(training, validation)
    assert kept.subjects is not None
    assert set(kept.subjects) == {f"S{k}" for k in range(20)} - {"S3", "S7", "S9"}


def test_without_leaks_compares_pictures_of_different_sizes() -> None:
    training = made_faces(8)
    larger = np.stack([np.kron(picture, np.ones((2, 2), dtype=np.uint8)) for picture in training.pictures[:3]])
    validation = dataclasses.replace(training.take(np.arange(3)), pictures=larger)
    assert len(without_leaks(training, validation)) == 5


@pytest.mark.parametrize("shares", [(), (0.5,), (1.0, 0.0), (0.7, 0.7), (1.2, -0.2)])
def test_impossible_shares_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        split_faces(made_faces(14), shares, seed=0)


def test_a_part_that_stays_empty_is_refused() -> None:
    faces = with_subjects(made_faces(14), ["one"] * 14)
    with pytest.raises(ConfigError, match=r"0\.2"):
        split_faces(faces, (0.8, 0.2), seed=0)
