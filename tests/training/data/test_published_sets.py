"""Tiny sets in the layouts in which RAF-DB, AffectNet, CK+ and ExpW are given out, and the mistakes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.errors import ConfigError, EmostreamError, SourceRejectedError
from emostream.vision.classify.preprocess import crop_from_picture
from emostream.vision.detect.align import TEMPLATE_LANDMARKS
from training.data.face_set import FaceSet
from training.data.formats.listed_faces import face_from_landmarks, square_around
from training.data.load import load_faces, open_data_set


def save(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def colour(level: int, *, height: int = 100, width: int = 100) -> npt.NDArray[np.uint8]:
    """A gray level as a colour picture, brighter to the right."""
    ramp = np.clip(level + np.arange(width) // 4, 0, 255).astype(np.uint8)
    return np.repeat(np.broadcast_to(ramp, (height, width))[:, :, None], 3, axis=2)


def names(faces: FaceSet) -> list[str]:
    return [faces.class_names[label] for label in faces.labels]


# RAF-DB

RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")


def make_raf_db(folder: Path, *, lines: str = "") -> Path:
    listed = []
    for k in range(7):
        save(folder / "Image" / "aligned" / f"train_{k:05}_aligned.jpg", colour(20 * k))
        listed.append(f"train_{k:05}.jpg {k + 1}")
    save(folder / "Image" / "aligned" / "test_0001_aligned.jpg", colour(90))
    write(folder / "EmoLabel" / "list_patition_label.txt", "\n".join([*listed, "test_0001.jpg 4", lines]))
    return folder


def test_raf_db(tmp_path: Path) -> None:
    make_raf_db(tmp_path)
    assert open_data_set(tmp_path).splits == ("training", "test")
    faces = load_faces(tmp_path, split="training")
    assert tuple(names(faces)) == RAF_DB
    assert faces.pictures.shape == (7, 64, 64)
    assert abs(int(faces.pictures[3].mean()) - 72) <= 2
    assert names(load_faces(tmp_path, split="test")) == ["happy"]
    with pytest.raises(ConfigError, match="training, test, held-out, all"):
        load_faces(tmp_path)


@pytest.mark.parametrize("above", ["", "DATASET"])
def test_raf_db_in_class_folders(tmp_path: Path, above: str) -> None:
    for split in ("train", "test"):
        for number in range(1, 8):
            save(tmp_path / above / split / str(number) / f"{split}_1_aligned.jpg", colour(10 * number))
    assert tuple(names(load_faces(tmp_path, split="training"))) == RAF_DB
    assert tuple(names(load_faces(tmp_path, split="test"))) == RAF_DB


def save_numbered(folder: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        save(folder / str(number) / "a.png", colour(10 * number))


def test_class_folders_with_numbers_are_those_of_fer2013(tmp_path: Path) -> None:
    save_numbered(tmp_path, (0, 3, 6))
    assert names(load_faces(tmp_path)) == ["angry", "happy", "neutral"]


# AffectNet

AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry")
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def make_affectnet_tables(folder: Path, *, header: str = AFFECTNET_HEADER, line: str = "") -> Path:
    lines = [header]
    for number in range(11):
        picture = colour(10, height=120, width=200)
        picture[20:70, 30:80] = 100 + number
        save(folder / "Manually_Annotated_Images" / "1" / f"{number}.jpg", picture)
        box = "30,20,50,50" if number < 8 else "NULL,NULL,NULL,NULL"
        lines.append(f"1/{number}.jpg,{box},1.5;2.5;3.5,{number},0.1,-0.2")
    write(folder / "training.csv", "\n".join([*lines, line]))
    write(folder / "validation.csv", "\n".join([header, "1/0.jpg,30,20,50,50,1;2,0,0,0"]))
    return folder


def test_affectnet_tables(tmp_path: Path) -> None:
    make_affectnet_tables(tmp_path)
    assert open_data_set(tmp_path).splits == ("training", "publictest")
    faces = load_faces(tmp_path, split="training")
    assert tuple(names(faces)) == AFFECTNET
    # The box alone is seen, up to what JPEG makes of its border.
    assert [int(np.median(picture)) for picture in faces.pictures] == list(range(100, 107))
    assert float(np.ptp(faces.pictures[0][8:-8, 8:-8])) <= 12
    assert len(load_faces(tmp_path, split="publictest")) == 1


def test_affectnet_tables_in_their_own_folder(tmp_path: Path) -> None:
    make_affectnet_tables(tmp_path)
    (tmp_path / "Manually_Annotated").mkdir()
    (tmp_path / "Manually_Annotated_Images").rename(tmp_path / "Manually_Annotated" / "Manually_Annotated_Images")
    (tmp_path / "Manually_Annotated_file_lists").mkdir()
    for name in ("training.csv", "validation.csv"):
        (tmp_path / name).rename(tmp_path / "Manually_Annotated_file_lists" / name)
    assert tuple(names(load_faces(tmp_path, split="training"))) == AFFECTNET


def make_affectnet_annotations(folder: Path) -> Path:
    for split in ("train_set", "val_set"):
        (folder / split / "annotations").mkdir(parents=True)
        for number in range(8):
            save(folder / split / "images" / f"{10 + number}.jpg", colour(number, height=224, width=224))
            np.save(folder / split / "annotations" / f"{10 + number}_exp.npy", np.array(str(number)))
            np.save(folder / split / "annotations" / f"{10 + number}_val.npy", np.array("0.5"))
    return folder


def test_affectnet_annotations(tmp_path: Path) -> None:
    make_affectnet_annotations(tmp_path)
    assert tuple(names(load_faces(tmp_path, split="training"))) == AFFECTNET
    assert len(load_faces(tmp_path, split="all")) == 14


# CK+

CK_PLUS = {1: "angry", 2: None, 3: "disgust", 4: "fear", 5: "happy", 6: "sad", 7: "surprise"}


def points_68(five: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """68 landmarks whose eyes, nose tip and mouth corners are these."""
    points = np.zeros((68, 2))
    ring = 3 * np.array([[np.cos(angle), np.sin(angle)] for angle in np.arange(6) * np.pi / 3])
    points[36:42], points[42:48] = five[0] + ring, five[1] + ring
    points[30], points[48], points[54] = five[2], five[3], five[4]
    return points


def make_ck_plus(folder: Path, *, num_frames: int = 6) -> Path:
    five = TEMPLATE_LANDMARKS * 3 + [200, 120]
    lines = "\n".join(f"   {x:.7e}   {y:.7e}" for x, y in points_68(five))
    for number in CK_PLUS:
        sequence = Path(f"S{number:03}") / "001"
        for frame in range(1, num_frames + 1):
            stem = f"S{number:03}_001_{frame:08}"
            picture = np.zeros((480, 640), dtype=np.uint8)
            picture[120 : 120 + 192, 200 : 200 + 192] = 50 + frame
            save(folder / "cohn-kanade-images" / sequence / f"{stem}.png", picture)
            write(folder / "Landmarks" / sequence / f"{stem}_landmarks.txt", lines)
        write(folder / "Emotion" / sequence / f"S{number:03}_001_{num_frames:08}_emotion.txt", f"   {number:.7e}\n")
    # Most sequences have no label: an empty folder, or none.
    (folder / "Emotion" / "S999" / "003").mkdir(parents=True)
    return folder


def test_ck_plus(tmp_path: Path) -> None:
    make_ck_plus(tmp_path)
    assert open_data_set(tmp_path).splits == ()
    faces = load_faces(tmp_path)
    expected = [name for emotion in CK_PLUS.values() if emotion for name in ("neutral", emotion, emotion, emotion)]
    assert names(faces) == expected
    assert faces.subjects is not None
    assert faces.subjects.tolist() == [f"S{k:03}" for k in CK_PLUS if k != 2 for _ in range(4)]
    # First frame, then the last three; and the crop shows what the landmarks stand on.
    levels = [int(np.median(picture)) for picture in faces.pictures]
    assert levels[:4] == [51, 54, 55, 56]
    assert int(np.ptp(faces.pictures[0][2:-2, 2:-2])) == 0


def test_ck_plus_sequences_may_be_short(tmp_path: Path) -> None:
    make_ck_plus(tmp_path, num_frames=2)
    assert names(load_faces(tmp_path))[:2] == ["neutral", "angry"]
    make_ck_plus(tmp_path / "one", num_frames=1)
    assert names(load_faces(tmp_path / "one"))[:2] == ["angry", "disgust"]


def test_ck_plus_in_class_folders_keeps_its_subjects(tmp_path: Path) -> None:
    for k, emotion in enumerate(("anger", "contempt", "sadness")):
        save(tmp_path / emotion / f"S01{k}_004_00000017.png", colour(10))
    faces = load_faces(tmp_path)
    assert names(faces) == ["angry", "contempt", "sad"]
    assert faces.subjects is not None
    assert faces.subjects.tolist() == ["S010", "S011", "S012"]
    known = load_faces(tmp_path, class_names=EMOTIONS)
    assert names(known) == ["angry", "sad"]
    assert names(load_faces(tmp_path, class_names=("contempt", "anger", "sad"))) == names(faces)
    only = load_faces(tmp_path)
    with pytest.raises(SourceRejectedError, match="contempt"):
        only.take(only.labels == 7).without_foreign_contempt(EMOTIONS)


def test_landmarks_of_the_template_give_the_whole_crop() -> None:
    face = face_from_landmarks(tuple((float(x), float(y)) for x, y in TEMPLATE_LANDMARKS))
    np.testing.assert_allclose(face.box_xyxy, (6.7, 4.2, 57.3, 61.9), atol=0.01)


# ExpW


def make_expw(folder: Path, *, line: str = "", above: str = "") -> Path:
    picture = colour(10, height=150, width=300)
    lines = []
    for number in range(7):
        left = 10 + 40 * number
        picture[50:80, left : left + 30] = 100 + 10 * number
        lines.append(f"party_1.jpg {number} 50 {left} {left + 30} 80 44.5 {number}")
    save(folder / above / "image" / "origin" / "party_1.jpg", picture)
    write(folder / above / "label" / "label.lst", "\n".join([*lines, line]))
    return folder


@pytest.mark.parametrize("above", ["", "data"])
def test_expw(tmp_path: Path, above: str) -> None:
    faces = load_faces(make_expw(tmp_path, above=above))
    assert names(faces) == list(EMOTIONS)
    assert [round(float(np.median(picture)), -1) for picture in faces.pictures] == list(range(100, 170, 10))
    assert faces.subjects is None


def test_a_box_becomes_a_square_and_repeats_the_border() -> None:
    picture = np.arange(100, dtype=np.uint8).reshape(10, 10)
    square = square_around(picture, (-2, 2, 4, 4), source=Path("a.jpg"))
    assert square.shape == (6, 6)
    assert square[0].tolist() == [0, 0, 0, 1, 2, 3]
    np.testing.assert_array_equal(square_around(picture, (2, 3, 6, 7), source=Path("a.jpg")), picture[3:7, 2:6])
    assert crop_from_picture(square).shape == (64, 64)


def raf_with(line: str) -> Callable[[Path], object]:
    return lambda folder: make_raf_db(folder, lines=line)


def affectnet_with(line: str) -> Callable[[Path], object]:
    return lambda folder: make_affectnet_tables(folder, line=line)


def expw_with(line: str) -> Callable[[Path], object]:
    return lambda folder: make_expw(folder, line=line)


def without(make: Callable[[Path], object], *paths: str) -> Callable[[Path], object]:
    def run(folder: Path) -> None:
        make(folder)
        for path in paths:
            (folder / path).rename(folder / "elsewhere")

    return run


def with_text(make: Callable[[Path], object], path: str, text: str) -> Callable[[Path], object]:
    def run(folder: Path) -> None:
        make(folder)
        write(folder / path, text)

    return run


CK_EMOTION = "Emotion/S001/001/S001_001_00000006_emotion.txt"
CK_LANDMARKS = "Landmarks/S001/001/S001_001_00000001_landmarks.txt"
MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "raf line": (raf_with("train_00009.jpg"), "line 9: expected `train_00001.jpg 5`"),
    "raf name": (raf_with("val_00009.jpg 3"), "line 9: expected `train_00001.jpg 5`"),
    "raf label": (raf_with("train_00009.jpg 8"), "line 9: expected a label 1…7, got 8"),
    "raf picture": (raf_with("train_00009.jpg 7"), "train_00009_aligned.jpg cannot be read: No such file"),
    "raf pictures": (without(make_raf_db, "Image"), "RAF-DB in"),
    "numbers 0…7": (
        lambda folder: save_numbered(folder, range(8)),
        "has classes 0 and 7; FER2013's are 0…6 and RAF-DB's 1…7",
    ),
    "affectnet column": (
        lambda folder: make_affectnet_tables(folder, header=AFFECTNET_HEADER.replace("face_width", "width")),
        "has no column 'face_width'",
    ),
    "affectnet label": (affectnet_with("1/0.jpg,1,1,9,9,1,11,0,0"), "expected a label 0…10, got 11"),
    "affectnet box": (affectnet_with("1/0.jpg,NULL,1,9,9,1,3,0,0"), "a whole number in column 'face_x', got 'NULL'"),
    "affectnet box outside": (affectnet_with("1/0.jpg,900,1,9,9,1,3,0,0"), "expected a face box"),
    "affectnet pictures": (without(make_affectnet_tables, "Manually_Annotated_Images"), "AffectNet in"),
    "affectnet annotation": (
        with_text(make_affectnet_annotations, "train_set/annotations/10_exp.npy", "x"),
        "expected one whole number in a .npy file",
    ),
    "ck+ without labels": (without(make_ck_plus, "Emotion"), "expected a folder Emotion or Emotion_labels/Emotion"),
    "ck+ without landmarks": (without(make_ck_plus, "Landmarks"), "expected a folder Landmarks"),
    "ck+ label": (with_text(make_ck_plus, CK_EMOTION, "8.0"), "expected a label 0…7, got 8"),
    "ck+ label text": (with_text(make_ck_plus, CK_EMOTION, "happy"), "expected one number, got 'happy'"),
    "ck+ points": (with_text(make_ck_plus, CK_LANDMARKS, "1 2\n3 4"), "expected 68 lines `x y`"),
    "ck+ frames": (without(make_ck_plus, "cohn-kanade-images/S001/001"), "expected .png frames, got none"),
    "expw line": (expw_with("a.jpg 0 1 2 3"), "line 8: expected `image_name face_id top left right bottom confidence"),
    "expw label": (expw_with("party_1.jpg 0 50 10 40 80 44.5 7"), "line 8: expected a label 0…6, got 7"),
    "expw box": (expw_with("party_1.jpg 0 50 40 10 80 44.5 3"), "expected a face box"),
    "expw pictures": (without(make_expw, "image"), "ExpW in"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_named(tmp_path: Path, mistake: tuple[Callable[[Path], object], str]) -> None:
    make, message = mistake
    make(tmp_path)
    with pytest.raises(EmostreamError) as caught:
        load_faces(tmp_path, split="all")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    make_raf_db(tmp_path)
    (tmp_path / "Image" / "aligned" / "train_00002_aligned.jpg").write_bytes(b"not a picture")
    with pytest.raises(EmostreamError, match=r"train_00002_aligned\.jpg"):
        load_faces(tmp_path, split="training")
