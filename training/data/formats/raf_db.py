"""RAF-DB, basic emotions (Li, Deng and Du, CVPR 2017), as its authors give it out.

    EmoLabel/list_patition_label.txt     lines `train_00001.jpg 5`; the list may also lie in the folder itself
    Image/aligned/train_00001_aligned.jpg

The aligned pictures are 100×100 pixels, cut tightly about the face. The form with class folders `DATASET/train/1` … `7`
is read by `class_folders`.
"""

from __future__ import annotations

from pathlib import Path

from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet
from training.data.formats.listed_faces import ListedFace, first_file, needed_file, needed_folder, read_listed_faces
from training.data.formats.tables import read_text
from training.data.labels import RAF_DB_LABELS, emotion_of_number

_LISTS = ("EmoLabel/list_patition_label.txt", "list_patition_label.txt")
_PICTURES = ("Image/aligned", "aligned", "Image/aligned/aligned")
# Beginning of the file name → split.
_SPLITS = {"train": "training", "test": "test"}


def splits_of(folder: Path) -> tuple[str, ...] | None:
    """The splits of RAF-DB, or None when the folder does not hold it."""
    return None if first_file(folder, _LISTS) is None else tuple(_SPLITS.values())


def load_split(folder: Path, *, split: str, show_progress: bool) -> FaceSet:
    """Read one split.

    Raises:
        SourceRejectedError: a line that is not understood, a label out of range, a missing or unreadable picture.
    """
    path = needed_file(folder, _LISTS, data_set="RAF-DB")
    pictures = needed_folder(folder, _PICTURES, data_set="RAF-DB")
    listed = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, emotion = _entry(line, where=f"list {path}, line {number}")
        if _SPLITS.get(name.partition("_")[0]) == split:
            stem = Path(name).stem.removesuffix("_aligned")
            listed.append(ListedFace(pictures / f"{stem}_aligned.jpg", emotion))
    return read_listed_faces(listed, source=path, show_progress=show_progress)


def _entry(line: str, *, where: str) -> tuple[str, int | None]:
    parts = line.split()
    if len(parts) != 2 or not parts[1].isdecimal() or parts[0].partition("_")[0] not in _SPLITS:
        raise SourceRejectedError(f"{where}: expected `train_00001.jpg 5` or `test_0001.jpg 5`, got {line[:60]!r}")
    return parts[0], emotion_of_number(int(parts[1]), RAF_DB_LABELS, where=where)
