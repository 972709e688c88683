"""Duplicates: equal, shifted, lit, marked and mirrored pictures are found; different ones are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.duplicates import (
    duplicate_groups,
    exact_groups,
    joined_groups,
    near_duplicates,
    perceptual_hashes,
)
from training.data.load import load_faces

Pictures = npt.NDArray[np.uint8]


def scenes(num: int, *, seed: int = 0, side: int = 60) -> Pictures:
    """Pictures with structure at every scale, each different."""
    random = np.random.default_rng(seed)
    pictures = np.empty((num, side, side), dtype=np.uint8)
    for k in range(num):
        noise = [
            cv2.resize(random.normal(size=(n, n)), (side, side), interpolation=cv2.INTER_CUBIC) for n in (4, 8, 16)
        ]
        total = np.sum(noise, axis=0)
        pictures[k] = np.clip(128 + 50 * total / total.std(), 0, 255)
    return pictures


def cut(picture: Pictures, *, x: int = 6, y: int = 6, side: int = 48) -> Pictures:
    return picture[y : y + side, x : x + side]


def jpeg(picture: Pictures) -> Pictures:
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def marked(picture: Pictures) -> Pictures:
    result = picture.copy()
    cv2.putText(result, "(c) photo", (2, 40), cv2.FONT_HERSHEY_PLAIN, 0.6, 255)
    return result


CHANGES = {
    "shifted": lambda scene: cut(scene, x=8, y=5),
    "cut wider": lambda scene: cv2.resize(cut(scene, x=5, y=5, side=50), (48, 48), interpolation=cv2.INTER_AREA),
    "darker": lambda scene: (cut(scene) * 0.5 + 10).astype(np.uint8),
    "marked": lambda scene: marked(cut(scene)),
    "jpeg": lambda scene: jpeg(cut(scene)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("mirror", [False, True], ids=["upright", "mirrored"])
def test_a_changed_copy_is_found(change: object, mirror: bool) -> None:
    made = scenes(12)
    pictures = np.stack([cut(scene) for scene in made] + [change(made[3])])  # type: ignore[operator]
    if mirror:
        pictures[-1] = pictures[-1][:, ::-1]
    pairs = near_duplicates(pictures)
    assert pairs.places.tolist() == [[3, 12]]
    assert pairs.mirrored.tolist() == [mirror]
    assert 0.88 <= float(pairs.similarity[0]) <= 1.001


def test_different_pictures_are_no_duplicates() -> None:
    pictures = scenes(120, side=48)
    assert len(near_duplicates(pictures, max_distance=64)) == 0
    assert duplicate_groups(pictures).tolist() == list(range(120))


def test_equal_pictures_are_a_group_and_no_near_pair() -> None:
    pictures = scenes(6, side=48)[[0, 1, 0, 2, 1, 0]]
    assert exact_groups(pictures).tolist() == [0, 1, 0, 3, 1, 0]
    assert len(near_duplicates(pictures)) == 0
    assert duplicate_groups(pictures).tolist() == [0, 1, 0, 2, 1, 0]


def test_chains_are_one_group() -> None:
    scene = scenes(1, side=80)[0]
    steps = np.stack([cut(scene, x=k, y=6) for k in range(24)])
    # The ends share only a part, yet each is like the next.
    ends = near_duplicates(steps[[0, 23]])
    assert len(ends) == 0
    assert len(set(duplicate_groups(steps).tolist())) == 1


def test_blank_pictures_are_like_nothing_but_their_equals() -> None:
    levels = np.array([0, 0, 7, 255], dtype=np.uint8)
    pictures = np.broadcast_to(levels[:, None, None], (4, 48, 48))
    assert duplicate_groups(pictures).tolist() == [0, 0, 1, 2]


def test_any_size_is_taken() -> None:
    for side in (2, 33, 64, 100):
        pictures = np.repeat(scenes(3, side=side), 2, axis=0)
        assert len(set(duplicate_groups(pictures).tolist())) <= 3


def test_the_hash_of_the_mirror_image_is_that_of_a_mirrored_picture() -> None:
    pictures = scenes(20, side=32)
    hashes, mirrored = perceptual_hashes(pictures)
    again, _ = perceptual_hashes(np.ascontiguousarray(pictures[:, :, ::-1]))
    # Sums in another order may turn a value at the median.
    assert int(np.bitwise_count(mirrored ^ again).max()) <= 2
    assert int(np.bitwise_count(hashes ^ mirrored).min()) > 8


def details(picture: Pictures) -> npt.NDArray[np.float64]:
    """What the similarity compares, written out again."""
    levels = picture.astype(np.float32)
    window = cv2.createHanningWindow((50, 50), cv2.CV_32F)[1:-1, 1:-1] ** 2
    fine, coarse = (cv2.GaussianBlur(levels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for sigma in (0.8, 3.0))
    found = ((fine - coarse) * window).astype(np.float64)
    return found / np.linalg.norm(found)


def best_correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    shifts = range(-5, 6)
    return max(float((one * np.roll(other, (down, right), (0, 1))).sum()) for down in shifts for right in shifts)


@settings(deadline=None, max_examples=3)
@given(st.integers(0, 2**31), st.floats(0.5, 0.95))
def test_the_search_names_exactly_the_pairs_that_correlate(seed: int, min_similarity: float) -> None:
    # Blends of neighbours, some mirrored: pairs of every similarity.
    made = scenes(3, seed=seed, side=48)
    blends = [made[k] * 0.7 + made[k - 1] * 0.3 for k in range(3)]
    pictures = np.stack([*made, *blends, *(np.roll(each[:, ::-1], 2, axis=1) for each in made)]).astype(np.uint8)
    upright = [details(picture) for picture in pictures]
    turned = [details(picture[:, ::-1]) for picture in pictures]
    expected = {
        (i, j, mirrored): best_correlation(upright[i], others[j])
        for mirrored, others in ((False, upright), (True, turned))
        for i in range(len(pictures))
        for j in range(i + 1, len(pictures))
    }
    found = near_duplicates(pictures, max_distance=64, min_similarity=min_similarity)
    named = {(*map(int, places), bool(turn)) for places, turn in zip(found.places, found.mirrored, strict=True)}
    for pair, correlation in expected.items():
        if abs(correlation - min_similarity) > 1e-4:  # float32 there, float64 here
            assert (pair in named) == (correlation >= min_similarity), pair


def test_cells_find_what_all_pairs_find() -> None:
    # 48 pivots: a picture is in a third of the cells.
    made = scenes(3000)
    copies = [change(made[k]) for k, change in enumerate([*CHANGES.values()] * 6)]  # type: ignore[no-untyped-call]
    pictures = np.stack([*(cut(scene) for scene in made), *copies, *(copy[:, ::-1] for copy in copies)])
    whole, by_cells = (near_duplicates(pictures, exact_up_to=size) for size in (len(pictures), 0))
    assert len(whole) >= len(copies)
    for part in ("places", "similarity", "mirrored"):
        np.testing.assert_array_equal(getattr(by_cells, part), getattr(whole, part))


def test_a_search_is_kept_and_a_damaged_file_searched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pictures = scenes(4, side=48)
    pictures[3] = np.roll(pictures[0], 2, axis=1)
    first = near_duplicates(pictures, keep_from=4)
    (kept,) = (tmp_path / "emostream" / "duplicates").iterdir()
    assert first.places.tolist() == near_duplicates(pictures, keep_from=4).places.tolist() == [[0, 3]]
    # What stands there is taken at its word.
    np.savez(kept, places=np.array([[1, 2]]), similarity=np.ones(1, np.float32), mirrored=np.zeros(1, np.bool_))
    assert near_duplicates(pictures, keep_from=4).places.tolist() == [[1, 2]]
    assert near_duplicates(pictures, keep_from=5).places.tolist() == [[0, 3]]
    assert near_duplicates(pictures[:, ::-1], keep_from=4).places.tolist() == [[0, 3]]
    for content in (b"", b"PK", kept.read_bytes()[:100]):
        kept.write_bytes(content)
        assert near_duplicates(pictures, keep_from=4).places.tolist() == [[0, 3]]


def test_without_a_place_for_it_a_search_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(near_duplicates(scenes(4, side=48), keep_from=0)) == 0


@settings(deadline=None)
@given(st.integers(1, 30), st.data())
def test_groups_are_what_links_connect(count: int, data: st.DataObject) -> None:
    place = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(place, place), max_size=20))
    groups = joined_groups(count, np.array(links, dtype=np.int64).reshape(-1, 2))
    expected = list(range(count))
    for first, second in links:
        old, new = expected[second], expected[first]
        expected = [new if number == old else number for number in expected]
    for first in range(count):
        for second in range(count):
            assert (groups[first] == groups[second]) == (expected[first] == expected[second])


@pytest.mark.slow
def test_cells_find_all_duplicates_of_fer2013(shared_data: Path) -> None:
    pictures = load_faces(shared_data / "fer2013", split="training").pictures
    found = near_duplicates(pictures, exact_up_to=0, keep_from=len(pictures) + 1)
    assert np.bincount(found.mirrored).tolist() == [3003, 52]


@pytest.mark.slow
def test_all_known_copies_of_fer2013_are_found(shared_data: Path) -> None:
    training = load_faces(shared_data / "fer2013", split="training")
    public = load_faces(shared_data / "fer2013", split="publictest")
    groups = exact_groups(np.concatenate([training.pictures, public.pictures]))
    copies = np.isin(groups[len(training) :], groups[: len(training)])
    assert public.duplicate_of_training is not None
    np.testing.assert_array_equal(copies, public.duplicate_of_training)
    assert int(copies.sum()) == 280
