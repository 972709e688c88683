"""Every form of data gives the same set, and every mistake in it one clear message."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.errors import ConfigError, EmostreamError, SourceRejectedError
from emostream.vision.classify.preprocess import batch_from_pictures
from tests.training.data.test_duplicates import scenes
from tests.training.made import made_faces, save_npz
from training.config import DataConfig
from training.data.duplicates import near_duplicates
from training.data.face_set import FaceSet, join_face_sets
from training.data.labels import FERPLUS_COLUMNS
from training.data.load import load_faces, load_splits, open_data_set


def save_contact_sheet(faces: FaceSet, folder: Path, *, split: str, columns: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = -(-len(faces) // columns)
    sheet = np.zeros((rows * 48, columns * 48), dtype=np.uint8)
    for k, picture in enumerate(faces.pictures):
        y, x = k // columns * 48, k % columns * 48
        sheet[y : y + 48, x : x + 48] = picture
    cv2.imwrite(str(folder / f"{split}.png"), sheet)
    assert faces.votes is not None
    with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        names = [f"votes_{column}" for column in FERPLUS_COLUMNS]
        writer.writerow(["fer2013_row", "label", "blank", "duplicate_of_training", *names])
        for k, (label, votes) in enumerate(zip(faces.labels, faces.votes, strict=True)):
            writer.writerow([k, label, 0, 0, *votes.astype(int)])


def save_kaggle(parts: dict[str, FaceSet], path: Path, *, with_votes: bool) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for usage, faces in parts.items():
            for label, picture in zip(faces.labels, faces.pictures, strict=True):
                writer.writerow([label, " ".join(map(str, picture.reshape(-1))), usage])
    if with_votes:
        with path.with_name("fer2013new.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Usage", "Image name", *FERPLUS_COLUMNS])
            for usage, faces in parts.items():
                assert faces.votes is not None
                writer.writerows([usage, "fer.png", *votes.astype(int)] for votes in faces.votes)


def assert_same(actual: FaceSet, expected: FaceSet) -> None:
    np.testing.assert_array_equal(actual.pictures, expected.pictures)
    np.testing.assert_array_equal(actual.labels, expected.labels)
    assert actual.votes is not None
    assert expected.votes is not None
    np.testing.assert_array_equal(actual.votes, expected.votes)


def test_contact_sheets(tmp_path: Path) -> None:
    faces, others = made_faces(13), made_faces(7, seed=1)
    save_contact_sheet(faces, tmp_path, split="training")
    save_contact_sheet(others, tmp_path, split="publictest")
    assert_same(load_faces(tmp_path, split="training"), faces)
    assert_same(load_faces(tmp_path, split="publictest"), others)
    assert len(load_faces(tmp_path, split="all")) == 20


def test_a_single_split_needs_no_name(tmp_path: Path) -> None:
    save_contact_sheet(made_faces(7), tmp_path, split="publictest")
    assert len(load_faces(tmp_path)) == 7


def test_several_splits_need_a_name(tmp_path: Path) -> None:
    for split in ("training", "publictest"):
        save_contact_sheet(made_faces(7), tmp_path, split=split)
    with pytest.raises(ConfigError, match="training, publictest, held-out, all"):
        load_faces(tmp_path)
    with pytest.raises(ConfigError, match="'privatetest'"):
        load_faces(tmp_path, split="privatetest")


def test_held_out_is_what_runs_keep_apart_by_default(tmp_path: Path) -> None:
    save_contact_sheet(made_faces(140), tmp_path, split="training")
    save_contact_sheet(made_faces(7), tmp_path, split="publictest")
    training, validation = load_splits(DataConfig(path=str(tmp_path)))
    held_out = load_faces(tmp_path, split="held-out")
    np.testing.assert_array_equal(held_out.pictures, validation.pictures)
    assert len(held_out) + len(training) == 140
    with pytest.raises(ConfigError, match="'training'"):
        (tmp_path / "training.csv").unlink()
        load_faces(tmp_path, split="held-out")


@pytest.mark.parametrize("where", ["file", "folder"])
def test_kaggle_csv_with_votes_marks_copies_of_training_pictures(tmp_path: Path, where: str) -> None:
    training, public = made_faces(8), made_faces(6, seed=1)
    public.pictures[2] = training.pictures[5]
    path = tmp_path / "fer2013.csv"
    save_kaggle({"Training": training, "PublicTest": public}, path, with_votes=True)
    faces = load_faces(path if where == "file" else tmp_path, split="publictest")
    assert_same(faces, public)
    assert faces.duplicate_of_training is not None
    assert faces.duplicate_of_training.tolist() == [False, False, True, False, False, False]


def test_kaggle_csv_without_votes_and_training_pictures_says_so(tmp_path: Path) -> None:
    save_kaggle({"PrivateTest": made_faces(7)}, tmp_path / "fer2013.csv", with_votes=False)
    faces = load_faces(tmp_path)
    assert faces.votes is None
    assert faces.duplicate_of_training is None


def test_npz_takes_any_split_name(tmp_path: Path) -> None:
    path = save_npz(made_faces(9), tmp_path / "set.npz")
    assert_same(load_faces(path, split="publictest"), made_faces(9))


def test_npz_needs_only_pictures_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=made_faces(9).pictures, label=made_faces(9).labels.astype(np.uint8))
    faces = load_faces(tmp_path / "set.npz")
    assert faces.votes is None
    assert faces.labels.dtype == np.int64


def test_blank_pictures_are_found(tmp_path: Path) -> None:
    faces = made_faces(9)
    faces.pictures[4] = 17
    loaded = load_faces(save_npz(faces, tmp_path / "set.npz"))
    assert loaded.blank.nonzero()[0].tolist() == [4]
    assert len(loaded.without_blank()) == 8


def save_folders(folder: Path, faces: FaceSet) -> None:
    for k, (label, picture) in enumerate(zip(faces.labels, faces.pictures, strict=True)):
        (folder / EMOTIONS[label]).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / EMOTIONS[label] / f"{k:03}.png"), picture)


def test_class_folders(tmp_path: Path) -> None:
    faces = made_faces(14)
    save_folders(tmp_path, faces)
    loaded = load_faces(tmp_path)
    order = [EMOTIONS.index(name) for name in sorted(EMOTIONS) for _ in range(2)]
    assert loaded.labels.tolist() == order
    by_class = np.argsort([EMOTIONS[label] for label in faces.labels], kind="stable")
    np.testing.assert_array_equal(loaded.pictures, batch_from_pictures(faces.pictures[by_class]))


def test_class_folders_under_split_folders(tmp_path: Path) -> None:
    save_folders(tmp_path / "train", made_faces(14))
    save_folders(tmp_path / "test", made_faces(7))
    assert len(load_faces(tmp_path, split="training")) == 14
    assert len(load_faces(tmp_path, split="test")) == 7


def kaggle_text(text: str) -> object:
    return lambda folder: (folder / "fer2013.csv").write_text(text, encoding="utf-8")


def npz_of(**arrays: object) -> object:
    return lambda folder: np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]


def save_class(folder: Path) -> None:
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), made_faces(1).pictures[0])


PICTURES, LABELS = made_faces(7).pictures, made_faces(7).labels
MISTAKES = {
    "missing": ("nothing.npz", lambda _: None, "does not exist"),
    "suffix": ("a.txt", lambda folder: (folder / "a.txt").write_text("x"), "a .npz or a .csv file, got .txt"),
    "no column": ("fer2013.csv", kaggle_text("emotion,Usage\n1,Training\n"), "has no column 'pixels'"),
    "few pixels": ("fer2013.csv", kaggle_text("emotion,pixels,Usage\n1,1 2 3,Training\n"), "2304 pixels, got 3"),
    "levels": ("fer2013.csv", kaggle_text("emotion,pixels,Usage\n1,1 256,Training\n"), "expected pixels of 0…255"),
    "short line": ("fer2013.csv", kaggle_text("emotion,pixels,Usage\n1,1\n"), "line 2: expected 3 fields, got 2"),
    "no lines": ("fer2013.csv", kaggle_text("emotion,pixels,Usage\n"), "holds no pictures"),
    "label": (
        "fer2013.csv",
        kaggle_text(f"emotion,pixels,Usage\n7,{' '.join(['9'] * 2304)},Training\n"),
        "expected labels 0…6",
    ),
    "label text": (
        "fer2013.csv",
        kaggle_text(f"emotion,pixels,Usage\nhappy,{' '.join(['9'] * 2304)},Training\n"),
        "expected a whole number in column 'emotion', got 'happy'",
    ),
    "not npz": ("set.npz", lambda folder: (folder / "set.npz").write_bytes(b"PK nonsense"), "not a readable .npz"),
    "empty npz": ("set.npz", lambda folder: (folder / "set.npz").write_bytes(b""), "not a readable .npz"),
    "objects": ("set.npz", npz_of(images=np.array([{}], dtype=object), label=LABELS), "not a readable .npz"),
    "no label": ("set.npz", npz_of(images=PICTURES), "has no array 'label'"),
    "float pictures": ("set.npz", npz_of(images=PICTURES / 255, label=LABELS), "uint8 n×48×48, got float64"),
    "lengths": ("set.npz", npz_of(images=PICTURES, label=LABELS[:3]), "labels for 7 pictures, got 3"),
    "votes": ("set.npz", npz_of(images=PICTURES, label=LABELS, votes=np.ones((7, 8))), "expected votes n×10"),
    "negative votes": (
        "set.npz",
        npz_of(images=PICTURES, label=LABELS, votes=-np.ones((7, 10))),
        "votes of 0 and more",
    ),
    "text votes": ("set.npz", npz_of(images=PICTURES, label=LABELS, votes=np.full((7, 10), "a")), "numbers in votes"),
    "subject": (
        "set.npz",
        npz_of(images=PICTURES, label=LABELS, subject=np.ones(7)),
        "expected subject as text or whole numbers n, got float64",
    ),
    "subjects": (
        "set.npz",
        npz_of(images=PICTURES, label=LABELS, subject=np.arange(3)),
        "subjects for 7 pictures, got 3",
    ),
    "no pictures": ("set.npz", npz_of(images=PICTURES[:0], label=LABELS[:0]), "holds no pictures"),
    "empty folder": ("", lambda _: None, "neither contact sheets, nor fer2013.csv, nor class folders"),
    "class called unknown": (
        "",
        lambda folder: save_class(folder / "unknown"),
        "a class cannot be called so: 'unknown' is what events say where no class can be named",
    ),
    "labels of own classes": (
        "set.npz",
        npz_of(images=PICTURES, label=LABELS, class_names=["calm", "tense"]),
        "expected labels 0…1 (calm, tense), got 2",
    ),
    "class names twice": (
        "set.npz",
        npz_of(images=PICTURES, label=LABELS, class_names=["calm", "calm"]),
        "expected class_names as different texts",
    ),
    "votes of own classes": (
        "set.npz",
        npz_of(images=PICTURES, label=LABELS, votes=np.ones((7, 10)), class_names=list("abcdefg")),
        "leave out the array votes or class_names",
    ),
    "empty class": ("", lambda folder: (folder / "happy").mkdir(), "holds no pictures"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_named(tmp_path: Path, mistake: tuple[str, object, str]) -> None:
    name, make, message = mistake
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(EmostreamError) as caught:
        load_faces(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "a.png").write_bytes(b"not a picture")
    with pytest.raises(SourceRejectedError, match=r"a\.png"):
        load_faces(tmp_path)


def test_a_sheet_that_does_not_fit_its_table_is_refused(tmp_path: Path) -> None:
    save_contact_sheet(made_faces(12), tmp_path, split="training")
    cv2.imwrite(str(tmp_path / "training.png"), np.zeros((48, 96), dtype=np.uint8))
    with pytest.raises(SourceRejectedError, match="12"):
        load_faces(tmp_path)


def test_votes_must_have_a_line_for_each_picture(tmp_path: Path) -> None:
    save_kaggle({"Training": made_faces(7)}, tmp_path / "fer2013.csv", with_votes=True)
    votes = tmp_path / "fer2013new.csv"
    votes.write_text("\n".join(votes.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")
    with pytest.raises(SourceRejectedError, match=r"7.* 6"):
        load_faces(tmp_path)


def test_subjects_of_npz_are_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=PICTURES, label=LABELS, subject=np.arange(7))
    subjects = load_faces(tmp_path / "set.npz").subjects
    assert subjects is not None
    assert subjects.tolist() == list("0123456")


def test_colour_pictures_of_any_size_become_gray_crops(tmp_path: Path) -> None:
    for name, shape in (("a.png", (30, 30, 3)), ("b.jpg", (200, 120, 3)), ("c.bmp", (64, 64))):
        (tmp_path / "happy").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "happy" / name), np.full(shape, 90, dtype=np.uint8))
    faces = load_faces(tmp_path)
    assert faces.pictures.shape == (3, 64, 64)
    assert np.abs(faces.pictures.astype(int) - 90).max() <= 1


def test_joined_sets_get_one_size_and_keep_known_subjects() -> None:
    small, large = made_faces(7), made_faces(7, seed=1)
    large = dataclasses.replace(large, pictures=batch_from_pictures(large.pictures), subjects=np.full(7, "S005"))
    joined = join_face_sets([small, large])
    assert joined.pictures.shape == (14, 64, 64)
    assert joined.subjects is not None
    assert joined.subjects.tolist() == [""] * 7 + ["S005"] * 7
    assert joined.take(np.array([8])).subjects == ["S005"]
    assert join_face_sets([small, small]).subjects is None


def test_two_splits_of_one_set(tmp_path: Path) -> None:
    for split, num in (("training", 14), ("publictest", 7)):
        save_contact_sheet(made_faces(num, seed=num), tmp_path, split=split)
    training, validation = load_splits(DataConfig(path=str(tmp_path), validation_split="publictest"))
    assert (len(training), len(validation)) == (14, 7)


def test_splits_of_two_sets(tmp_path: Path) -> None:
    first, second = save_npz(made_faces(14), tmp_path / "a.npz"), save_npz(made_faces(7, seed=1), tmp_path / "b.npz")
    training, validation = load_splits(DataConfig(path=str(first), validation_path=str(second)))
    assert (len(training), len(validation)) == (14, 7)


@pytest.mark.parametrize("form", ["npz", "one split"])
def test_a_set_without_validation_pictures_gives_a_share_of_them(tmp_path: Path, form: str) -> None:
    faces = made_faces(70)
    if form == "npz":
        config = DataConfig(path=str(save_npz(faces, tmp_path / "a.npz")), validation_share=0.2)
    else:
        save_contact_sheet(faces, tmp_path, split="training")
        config = DataConfig(path=str(tmp_path), validation_split=None, validation_share=0.2)
    training, validation = load_splits(config)
    assert (len(training), len(validation)) == (56, 14)
    assert np.bincount(validation.labels).tolist() == [2] * 7
    again = load_splits(config)[1]
    np.testing.assert_array_equal(validation.pictures, again.pictures)
    other = load_splits(dataclasses.replace(config, split_seed=1))[1]
    assert not np.array_equal(validation.pictures, other.pictures)


def test_by_default_a_tenth_of_training_chooses_and_no_photograph_is_on_both_sides(tmp_path: Path) -> None:
    faces = made_faces(140)
    pictures = scenes(140, side=48)
    # Of every ten photographs three come again: mirrored, lit otherwise, cut otherwise.
    for first in range(0, 140, 10):
        pictures[first + 1] = pictures[first, :, ::-1]
        pictures[first + 2] = pictures[first + 3] * 0.6 + 30
        pictures[first + 4] = np.roll(pictures[first + 5], 2, axis=1)
    faces = dataclasses.replace(faces, pictures=pictures)
    save_contact_sheet(faces, tmp_path, split="training")
    save_contact_sheet(made_faces(14, seed=3), tmp_path, split="publictest")
    config = DataConfig(path=str(tmp_path))
    training, validation = load_splits(config)
    assert len(training) + len(validation) == 140, "the other split has no part in it"
    assert 12 <= len(validation) <= 16
    both = join_face_sets([training, validation]).pictures
    near = near_duplicates(both).places
    assert len(near) >= 30
    assert not ((near < len(training)).sum(axis=1) == 1).any()
    chosen = load_splits(dataclasses.replace(config, validation_split="publictest"))
    assert [len(part) for part in chosen] == [140, 14]


@pytest.mark.slow
def test_the_tenth_of_fer2013_shares_no_photograph_with_the_rest(shared_data: Path) -> None:
    training, validation = load_splits(DataConfig(path=str(shared_data / "fer2013")))
    assert (len(training), len(validation)) == (25_839, 2_870)
    both = join_face_sets([training, validation]).pictures
    near = near_duplicates(both).places
    assert len(near) > 2_000
    assert not ((near < len(training)).sum(axis=1) == 1).any()
    assert not {picture.tobytes() for picture in training.pictures} & {
        picture.tobytes() for picture in validation.pictures
    }
    shares = np.bincount(validation.labels) / np.bincount(training.labels)
    assert shares == pytest.approx(1 / 9, rel=0.05)


def test_the_same_pictures_are_not_learned_from_and_measured_on(tmp_path: Path) -> None:
    save_contact_sheet(made_faces(7), tmp_path, split="training")
    with pytest.raises(ConfigError, match="'training'"):
        load_splits(DataConfig(path=str(tmp_path), validation_split="all"))


def test_leak_free_training_has_no_copy_of_a_validation_picture(tmp_path: Path) -> None:
    training, validation = made_faces(14), made_faces(7, seed=1)
    validation.pictures[3] = training.pictures[5]
    first, second = save_npz(training, tmp_path / "a.npz"), save_npz(validation, tmp_path / "b.npz")
    config = DataConfig(path=str(first), validation_path=str(second))
    assert len(load_splits(config)[0]) == 14
    kept, measured = load_splits(dataclasses.replace(config, leak_free=True))
    assert len(kept) == 13
    assert len(measured) == 7


def test_a_set_that_comes_whole_has_no_splits(tmp_path: Path) -> None:
    assert open_data_set(save_npz(made_faces(7), tmp_path / "a.npz")).splits == ()


def test_a_split_by_subject_needs_all_subjects(tmp_path: Path) -> None:
    faces = made_faces(40)
    config = DataConfig(path=str(save_npz(faces, tmp_path / "a.npz")), require_subjects=True)
    with pytest.raises(ConfigError, match=r"\d+ of \d+"):
        load_splits(config)
    known = dataclasses.replace(faces, subjects=np.array([f"S{k // 4}" for k in range(40)]))
    training, validation = load_splits(dataclasses.replace(config, path=str(save_npz(known, tmp_path / "b.npz"))))
    assert training.subjects is not None
    assert validation.subjects is not None
    assert not set(training.subjects) & set(validation.subjects)
