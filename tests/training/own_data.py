"""Data sets without votes in every layout that is read, with made pictures whose classes a tiny net tells apart."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from emostream.cli.bench.demo_clip import load_portraits
from emostream.domain.emotion import EMOTIONS
from emostream.domain.face import Face
from emostream.vision.detect.align import TEMPLATE_LANDMARKS, crop_face
from emostream.vision.detect.detector import FaceDetector
from tests.training.data.test_published_sets import AFFECTNET_HEADER, points_68, save, write
from training.data.labels import FERPLUS_COLUMNS

Picture = npt.NDArray[np.uint8]
NUM_OF_EACH = 6
_RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
_AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry")
_CK_PLUS = {1: "angry", 3: "disgust", 4: "fear", 5: "happy", 6: "sad", 7: "surprise"}


def striped(place: int, number: int, *, side: int = 64) -> Picture:
    """The picture `number` of the class at this place: one more level stripe than the class before, on noise."""
    random = np.random.default_rng([place, number])
    # Level stripes look the same mirrored, as a face keeps its expression.
    wave = 1 + np.sin(2 * np.pi * (np.arange(side) / side) * (place + 1))
    return np.asarray(random.integers(0, 60, (side, side)) + (90 * wave)[:, None], dtype=np.uint8)


def emotion(name: str, number: int, *, side: int = 64) -> Picture:
    """The picture `number` of one of the seven."""
    return striped(EMOTIONS.index(name), number, side=side)


def save_class_folders(folder: Path, class_names: tuple[str, ...], *, first: int = 0, num: int = NUM_OF_EACH) -> Path:
    """A folder for each class, with its pictures `first` and following."""
    for place, name in enumerate(class_names):
        for number in range(first, first + num):
            save(folder / name / f"{number:03}.png", striped(place, number, side=96))
    return folder


def _raf_db(folder: Path) -> None:
    lines = []
    for label, name in enumerate(_RAF_DB, start=1):
        for number in range(NUM_OF_EACH):
            stem = f"train_{label}{number:04}"
            save(folder / "Image" / "aligned" / f"{stem}_aligned.jpg", emotion(name, number, side=100))
            lines.append(f"{stem}.jpg {label}")
    write(folder / "EmoLabel" / "list_patition_label.txt", "\n".join(lines))


def _raf_db_folders(folder: Path) -> None:
    for label, name in enumerate(_RAF_DB, start=1):
        for number in range(NUM_OF_EACH):
            save(folder / "DATASET" / "train" / str(label) / f"{number}.jpg", emotion(name, number, side=100))


def _affectnet_tables(folder: Path) -> None:
    lines = [AFFECTNET_HEADER]
    for label, name in enumerate(_AFFECTNET):
        for number in range(NUM_OF_EACH):
            picture = np.full((120, 200), 10, dtype=np.uint8)
            picture[20:84, 30:94] = emotion(name, number)
            save(folder / "Manually_Annotated_Images" / "1" / f"{label}-{number}.jpg", picture)
            lines.append(f"1/{label}-{number}.jpg,30,20,64,64,1;2,{label},0,0")
    write(folder / "training.csv", "\n".join(lines))


def _affectnet_annotations(folder: Path) -> None:
    part = folder / "train_set"
    (part / "annotations").mkdir(parents=True)
    for label, name in enumerate(_AFFECTNET):
        for number in range(NUM_OF_EACH):
            save(part / "images" / f"{label}{number}.jpg", emotion(name, number, side=224))
            np.save(part / "annotations" / f"{label}{number}_exp.npy", np.array(str(label)))


def _ck_plus(folder: Path) -> None:
    lines = "\n".join(f"{x:.4f} {y:.4f}" for x, y in points_68(TEMPLATE_LANDMARKS * 3 + [200, 120]))
    for label, name in _CK_PLUS.items():
        for subject in range(2):
            number = 2 * label + subject
            sequence = Path(f"S{number:03}") / "001"
            for frame, shown in enumerate(("neutral", name, name, name), start=1):
                stem = f"S{number:03}_001_{frame:08}"
                picture = np.full((480, 640), 10, dtype=np.uint8)
                picture[120:312, 200:392] = emotion(shown, 10 * number + frame, side=192)
                save(folder / "cohn-kanade-images" / sequence / f"{stem}.png", picture)
                write(folder / "Landmarks" / sequence / f"{stem}_landmarks.txt", lines)
            write(folder / "Emotion" / sequence / f"S{number:03}_001_00000004_emotion.txt", f"{label}.0\n")


def _expw(folder: Path) -> None:
    lines = []
    for label, name in enumerate(EMOTIONS):
        for number in range(NUM_OF_EACH):
            picture = np.full((150, 300), 10, dtype=np.uint8)
            picture[50:114, 100:164] = emotion(name, number)
            save(folder / "image" / "origin" / f"{label}-{number}.jpg", picture)
            lines.append(f"{label}-{number}.jpg 0 50 100 164 114 44.5 {label}")
    write(folder / "label" / "label.lst", "\n".join(lines))


def _kaggle_csv(folder: Path) -> None:
    with (folder / "fer2013.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for label in range(len(EMOTIONS)):
            for number in range(NUM_OF_EACH):
                pixels = striped(label, number, side=48).reshape(-1)
                writer.writerow([label, " ".join(map(str, pixels)), "Training"])


def _contact_sheet(folder: Path) -> None:
    labels = [label for label in range(len(EMOTIONS)) for _ in range(NUM_OF_EACH)]
    save(
        folder / "training.png",
        np.vstack([striped(label, number, side=48) for number, label in enumerate(labels)]),
    )
    head = ",".join(["label", "duplicate_of_training", *(f"votes_{column}" for column in FERPLUS_COLUMNS)])
    write(folder / "training.csv", "\n".join([head, *(f"{label},0{',0' * 10}" for label in labels)]))


def _npz(folder: Path, **more: npt.NDArray[np.generic]) -> None:
    num = len(more["class_names"]) if "class_names" in more else len(EMOTIONS)
    labels = np.arange(num * NUM_OF_EACH) % num
    pictures = np.stack([striped(int(label), number, side=48) for number, label in enumerate(labels)])
    np.savez(folder / "set.npz", images=pictures, label=labels, **more)  # type: ignore[arg-type]


OWN_CLASSES = ("attentive", "bored", "müde & 'tired'")
"""Words that are no emotion of ours, in the order in which folders are read."""

LAYOUTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "class folders": (lambda folder: save_class_folders(folder, EMOTIONS), EMOTIONS),
    "class folders of an own kind": (lambda folder: save_class_folders(folder, OWN_CLASSES), OWN_CLASSES),
    "RAF-DB": (_raf_db, EMOTIONS),
    "RAF-DB in class folders": (_raf_db_folders, EMOTIONS),
    "AffectNet tables": (_affectnet_tables, EMOTIONS),
    "AffectNet annotations": (_affectnet_annotations, EMOTIONS),
    "CK+": (_ck_plus, EMOTIONS),
    "ExpW": (_expw, EMOTIONS),
    "Kaggle csv": (_kaggle_csv, EMOTIONS),
    "contact sheet": (_contact_sheet, EMOTIONS),
    "npz": (_npz, EMOTIONS),
    "npz with votes of nobody": (lambda folder: _npz(folder, votes=np.zeros((42, 10))), EMOTIONS),
    "npz of an own kind": (lambda folder: _npz(folder, class_names=np.array(OWN_CLASSES)), OWN_CLASSES),
}
"""Name → (writes such a set into a folder, the classes of its pictures)."""


def path_of(folder: Path) -> Path:
    """What to name as data: the folder, or the one file in it that is a set by itself."""
    file = folder / "set.npz"
    return file if file.is_file() else folder


def write_settings(
    path: Path, data: Path, *, name: str = "my-model", epochs: int = 16, validation: Path | None = None
) -> Path:
    """Settings like those of docs/tour.md, for a net that learns in seconds."""
    kept_apart = "validation_share: 0.2" if validation is None else f"validation_path: {validation}"
    text = (
        f"name: {name}\n"
        f"data: {{path: {data}, train_split: null, validation_split: null, {kept_apart}, crop_pixels: 48}}\n"
        "model: {widths: [16, 32], depths: [1, 1], dropout: 0.0}\n"
        f"optim: {{epochs: {epochs}, batch_size: 16, ema_decay: 0.8}}\n"
        "augment: {mixup_probability: 0, erase_probability: 0, low_resolution_probability: 0}\n"
        "precision: fp32\nnum_threads: 1\n"
    )
    path.write_text(text, encoding="utf-8")
    return path


def whole_pictures(class_names: tuple[str, ...], folder: Path, *, first: int, num: int) -> dict[Path, str]:
    """Pictures that no net has seen, called by number alone: file → the class it shows."""
    shown: dict[Path, str] = {}
    for place, name in enumerate(class_names):
        for number in range(first, first + num):
            path = folder / f"{len(shown):03}.png"
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), striped(place, number, side=96))
            shown[path] = name
    return shown


# --- people -----------------------------------------------------------------------------------------------------------


def striped_portrait(portrait: Picture, face: Face, place: int, number: int) -> Picture:
    """A gray portrait whose class is the number of level waves over its face; light, size and noise vary."""
    random = np.random.default_rng([place, number])
    _, top, _, bottom = face.box_xyxy
    waves = np.sin(2 * np.pi * (place + 1) * (np.arange(len(portrait)) - top) / (bottom - top))
    noise = random.normal(0, 4, portrait.shape)
    lit = portrait * random.uniform(0.8, 1.1) + random.uniform(-10, 10) + 50 * waves[:, None] + noise
    scale = random.uniform(0.8, 1.2)
    levels = np.clip(lit, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(levels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def people(
    class_names: tuple[str, ...], detector: FaceDetector, *, first: int, num: int
) -> Iterator[tuple[str, int, Picture, Face]]:
    """(class, number, picture of a person, their face) of pictures `first` and following of each class."""
    grays = [cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY) for portrait in load_portraits()]
    portraits = [np.asarray(gray, dtype=np.uint8) for gray in grays]
    found = [(portrait, detector.detect(portrait)[0]) for portrait in portraits]
    for place, name in enumerate(class_names):
        for number in range(first, first + num):
            portrait, face = found[number % len(found)]
            picture = striped_portrait(portrait, face, place, number)
            yield name, number, picture, detector.detect(picture)[0]


def save_cut_faces(folder: Path, class_names: tuple[str, ...], detector: FaceDetector, *, first: int, num: int) -> Path:
    """A folder for each class with faces cut from people's pictures, as the service cuts them."""
    for name, number, picture, face in people(class_names, detector, first=first, num=num):
        save(folder / name / f"{number:03}.png", crop_face(picture, face))
    return folder


def save_people(folder: Path, class_names: tuple[str, ...], detector: FaceDetector, *, num: int) -> dict[str, str]:
    """Whole pictures that no net has seen, called by number alone: file name → the class its one person shows."""
    shown: dict[str, str] = {}
    for name, _, picture, _ in people(class_names, detector, first=1000, num=num):
        save(folder / f"{len(shown):03}.png", picture)
        shown[f"{len(shown):03}.png"] = name
    return shown
