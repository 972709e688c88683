"""AffectNet (Mollahosseini, Hasani and Mahoor, IEEE TAC 2017), the manually annotated part, in both published forms.

Tables with whole pictures:

    training.csv, validation.csv        columns subDirectory_filePath, face_x, face_y, face_width, face_height,
                                        expression (and others); also under Manually_Annotated_file_lists/
    Manually_Annotated_Images/          also under Manually_Annotated/

One file for each annotation, with pictures cut to the face:

    train_set/images/123.jpg            train_set/annotations/123_exp.npy
    val_set/images/123.jpg              val_set/annotations/123_exp.npy

Contempt, none, uncertain and no face are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet
from training.data.formats.listed_faces import ListedFace, first_file, needed_folder, read_listed_faces
from training.data.formats.tables import header_of, integers, read_table
from training.data.labels import AFFECTNET_LABELS, emotion_of_number

_PATH_COLUMN = "subDirectory_filePath"
_BOX_COLUMNS = ("face_x", "face_y", "face_width", "face_height")
_PICTURES = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
# Split → its table, and its folder of the other form. Validation is called as FER2013's.
_TABLES = {"training": "training.csv", "publictest": "validation.csv"}
_FOLDERS = {"training": "train_set", "publictest": "val_set"}


def splits_of(folder: Path) -> tuple[str, ...] | None:
    """The splits that are there, or None when the folder does not hold AffectNet."""
    splits = tuple(
        split
        for split in _TABLES
        if _table(folder, split) is not None or (folder / _FOLDERS[split] / "annotations").is_dir()
    )
    return splits or None


def load_split(folder: Path, *, split: str, show_progress: bool) -> FaceSet:
    """Read one split.

    Raises:
        SourceRejectedError: missing columns, a label out of range, a missing or unreadable picture or annotation.
    """
    table = _table(folder, split)
    if table is None:
        part = folder / _FOLDERS[split]
        return read_listed_faces(_from_annotations(part), source=part, show_progress=show_progress)
    pictures = needed_folder(folder, _PICTURES, data_set="AffectNet")
    return read_listed_faces(_from_table(table, pictures), source=table, show_progress=show_progress)


def _table(folder: Path, split: str) -> Path | None:
    name = _TABLES[split]
    path = first_file(folder, (name, f"Manually_Annotated_file_lists/{name}"))
    return path if path is not None and _PATH_COLUMN in header_of(path) else None


def _from_table(path: Path, pictures: Path) -> list[ListedFace]:
    table = read_table(path, needed=(_PATH_COLUMN, *_BOX_COLUMNS, "expression"))
    numbers = integers(table, "expression", source=path)
    # Pictures without a face have no box, so boxes are read of the kept lines only.
    kept = []
    for place, number in enumerate(numbers.tolist()):
        emotion = emotion_of_number(number, AFFECTNET_LABELS, where=f"table {path}, entry {place}")
        if emotion is not None:
            kept.append((place, emotion))
    places = [place for place, _ in kept]
    boxes = {name: [table[name][place] for place in places] for name in _BOX_COLUMNS}
    left, top, width, height = (integers(boxes, name, source=path) for name in _BOX_COLUMNS)
    corners = np.stack([left, top, left + width, top + height], axis=1).tolist()
    return [
        ListedFace(pictures / table[_PATH_COLUMN][place], emotion, box_xyxy=tuple(box))
        for (place, emotion), box in zip(kept, corners, strict=True)
    ]


def _from_annotations(part: Path) -> list[ListedFace]:
    listed = []
    for path in sorted((part / "annotations").glob("*_exp.npy")):
        emotion = emotion_of_number(_number(path), AFFECTNET_LABELS, where=f"annotation {path}")
        listed.append(ListedFace(part / "images" / f"{path.stem.removesuffix('_exp')}.jpg", emotion))
    return listed


def _number(path: Path) -> int:
    try:
        # One number, written as text; nothing in the file is executed.
        return int(np.load(path, allow_pickle=False).item())
    except (OSError, ValueError, EOFError) as exc:
        raise SourceRejectedError(f"annotation {path}: expected one whole number in a .npy file") from exc
