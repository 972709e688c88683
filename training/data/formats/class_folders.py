"""A folder with one folder of picture files for each class, alone or under `train`, `test` and the like.

Class folders are called by words for the seven emotions, or have FER2013's numbers 0…6 or RAF-DB's numbers 1…7
(`DATASET/train/1` and so on); contempt may stand beside them. Where one of them is called otherwise, all are the user's
own classes, by their names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from emostream.domain.emotion import EMOTIONS
from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet
from training.data.formats.ck_plus import subject_of
from training.data.formats.listed_faces import PICTURE_SUFFIXES, ListedFace, read_listed_faces
from training.data.labels import CONTEMPT_NAME, EMOTION_OF_NAME, RAF_DB_LABELS

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
_BY_NAME: Mapping[str, int | None] = {**EMOTION_OF_NAME, CONTEMPT_NAME: len(EMOTIONS)}
_BY_RAF_DB_NUMBER = {str(number): emotion for number, emotion in RAF_DB_LABELS.items()}


def splits_of(folder: Path) -> tuple[str, ...]:
    """The splits, where the class folders lie under folders of splits; else none."""
    return tuple(_split_folders(folder))


def load_split(folder: Path, *, split: str, show_progress: bool) -> FaceSet:
    """Read every picture, in the order of class and file name, straight to the size of a crop.

    A class may be missing altogether; a folder that is there but empty is taken for a mistake.

    Raises:
        SourceRejectedError: no class folders, an empty one, one whose name events cannot carry, an unreadable picture.
    """
    folder = _split_folders(folder).get(split, folder)
    listed: list[ListedFace] = []
    children, class_names, place_of = _class_folders(folder)
    for child in children:
        place = place_of[_name_of(child)]
        pictures = sorted(path for path in child.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
        if not pictures:
            raise SourceRejectedError(f"class folder {child} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
        listed.extend(ListedFace(path, place, subject=subject_of(path)) for path in pictures)
    return read_listed_faces(listed, source=folder, show_progress=show_progress, class_names=class_names)


def _split_folders(folder: Path) -> dict[str, Path]:
    children = _folders_in(folder)
    if [child.name.lower() for child in children] == ["dataset"]:  # as RAF-DB is passed on
        children = _folders_in(children[0])
    return {SPLIT_NAMES[child.name.lower()]: child for child in children if child.name.lower() in SPLIT_NAMES}


def _folders_in(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _name_of(folder: Path) -> str:
    # Some file systems take letters and their accents apart.
    return unicodedata.normalize("NFC", folder.name)


def _class_folders(folder: Path) -> tuple[list[Path], tuple[str, ...], Mapping[str, int | None]]:
    """The folders of the classes, the names of the classes, and the place there of each folder's name."""
    children = _folders_in(folder)
    if not children:
        raise SourceRejectedError(
            f"folder {folder} holds neither contact sheets, nor fer2013.csv, nor class folders, nor RAF-DB, AffectNet, "
            "CK+ or ExpW as published (training/README.md)"
        )
    names = [_name_of(child) for child in children]
    known = _known_names(names, folder=folder)
    if all(name.lower() in known for name in names):
        places = {name: known[name.lower()] for name in names}
        has_contempt = len(EMOTIONS) in places.values()
        return children, (*EMOTIONS, CONTEMPT_NAME) if has_contempt else EMOTIONS, places
    return children, tuple(names), {name: place for place, name in enumerate(names)}


def _known_names(names: list[str], *, folder: Path) -> Mapping[str, int | None]:
    if "7" not in names:
        return _BY_NAME
    if "0" in names and all(name in _BY_NAME or name in _BY_RAF_DB_NUMBER for name in names):
        raise SourceRejectedError(
            f"folder {folder} has classes 0 and 7; FER2013's are 0…6 and RAF-DB's 1…7: name the folders instead"
        )
    return _BY_RAF_DB_NUMBER
