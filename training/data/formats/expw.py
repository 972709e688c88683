"""ExpW, Expression in the Wild (Zhang, Luo, Loy and Tang, IJCV 2018), as its authors give it out.

    label/label.lst            a line for each face: picture name, number of the face in it, top, left, right and bottom
                               of its box, confidence of the box, label
    image/origin/*.jpg         whole pictures, often with several faces

Both may lie under `data/`. It comes without splits. Boxes are the detector's, about as tight as FER2013's pictures.
"""

from __future__ import annotations

from pathlib import Path

from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet
from training.data.formats.listed_faces import ListedFace, first_file, needed_file, needed_folder, read_listed_faces
from training.data.formats.tables import read_text
from training.data.labels import EXPW_LABELS, emotion_of_number

_LISTS = ("label/label.lst", "data/label/label.lst", "label.lst")
_PICTURES = ("image/origin", "data/image/origin", "origin", "image")
_FIELDS = "image_name face_id top left right bottom confidence label"


def splits_of(folder: Path) -> tuple[str, ...] | None:
    """No splits, or None when the folder does not hold ExpW."""
    return None if first_file(folder, _LISTS) is None else ()


def load_split(folder: Path, *, split: str, show_progress: bool) -> FaceSet:
    """Read it all, whatever the name of the split.

    Raises:
        SourceRejectedError: a line that is not understood, a label out of range, a missing or unreadable picture, a box
            outside its picture.
    """
    del split
    path = needed_file(folder, _LISTS, data_set="ExpW")
    pictures = needed_folder(folder, _PICTURES, data_set="ExpW")
    faces = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            faces.append(_face(line, pictures=pictures, where=f"list {path}, line {number}"))
    return read_listed_faces(faces, source=path, show_progress=show_progress)


def _face(line: str, *, pictures: Path, where: str) -> ListedFace:
    parts = line.split()
    try:
        name, _, top, left, right, bottom, _, label = parts
        box = (float(left), float(top), float(right), float(bottom))
        number = int(label)
    except ValueError as exc:
        raise SourceRejectedError(f"{where}: expected `{_FIELDS}`, got {line[:60]!r}") from exc
    emotion = emotion_of_number(number, EXPW_LABELS, where=where)
    return ListedFace(pictures / name, emotion, box_xyxy=box)
