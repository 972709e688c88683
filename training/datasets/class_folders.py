"""A folder with one folder of picture files for each class, alone or under `train`, `test` and the like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.classify.preprocess import crop_from_picture
from emostream.errors import SourceRejectedError
from training.faces import FaceSet, build_face_set, read_gray
from training.labels import EMOTION_OF_NAME

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm")

# Names under which folders of splits are met → the name used here.
SPLIT_NAMES = {
    "train": "training",
    "training": "training",
    "val": "publictest",
    "valid": "publictest",
    "validation": "publictest",
    "publictest": "publictest",
    "test": "test",
    "privatetest": "privatetest",
}


def splits_of(folder: Path) -> dict[str, Path]:
    """Split → its folder, where the class folders lie under folders of splits; else empty."""
    return {
        SPLIT_NAMES[child.name.lower()]: child
        for child in sorted(folder.iterdir())
        if child.is_dir() and child.name.lower() in SPLIT_NAMES
    }


def load_class_folders(folder: Path, *, show_progress: bool = False) -> FaceSet:
    """Read every picture, in the order of class and file name, straight to the size of a crop.

    A class may be missing altogether; a folder that is there but empty is taken for a mistake.

    Raises:
        SourceRejectedError: no class folders, a folder of no known class, an empty one, an unreadable picture.
    """
    files: list[tuple[Path, int]] = []
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not children:
        raise SourceRejectedError(f"folder {folder} holds neither contact sheets, nor fer2013.csv, nor class folders")
    for child in children:
        emotion = EMOTION_OF_NAME.get(child.name.lower())
        if emotion is None:
            raise SourceRejectedError(
                f"folder {child} is no known class; known names: {', '.join(sorted(EMOTION_OF_NAME))}"
            )
        pictures = sorted(path for path in child.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
        if not pictures:
            raise SourceRejectedError(f"class folder {child} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
        files.extend((path, emotion) for path in pictures)
    crops: list[npt.NDArray[np.uint8]] = [
        crop_from_picture(read_gray(path)) for path, _ in tqdm(files, desc="pictures", disable=not show_progress)
    ]
    labels = np.array([emotion for _, emotion in files], dtype=np.int64)
    return build_face_set(np.stack(crops), labels, source=folder)
