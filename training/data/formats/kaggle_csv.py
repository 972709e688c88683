"""FER2013 as Kaggle gave it out: `fer2013.csv` (emotion, pixels, Usage); FER+ votes in `fer2013new.csv` beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet, build_face_set
from training.data.formats.tables import integers, read_table
from training.data.labels import FERPLUS_COLUMNS

SIDE_PIXELS = 48
VOTES_NAME = "fer2013new.csv"
_NUM_PIXELS = SIDE_PIXELS * SIDE_PIXELS


def load_kaggle_csv(path: Path) -> dict[str, FaceSet]:
    """Split name (`training`, `publictest`, `privatetest`) → its pictures, in the order of the file.

    Pictures of other splits that are, pixel for pixel, also in the training split are marked as duplicates.

    Raises:
        SourceRejectedError: missing columns, a wrong number of pixels, levels or labels out of range, votes that do
            not fit.
    """
    table = read_table(path, needed=("emotion", "pixels", "Usage"))
    labels = integers(table, "emotion", source=path)
    pictures = (
        np.stack([_picture(text, line=line, source=path) for line, text in enumerate(table["pixels"], start=2)])
        if table["pixels"]
        else np.empty((0, SIDE_PIXELS, SIDE_PIXELS), dtype=np.uint8)
    )
    usage = np.array([name.strip().lower() for name in table["Usage"]])
    votes = _votes(path.with_name(VOTES_NAME), num=len(labels))
    known = {bytes(picture) for picture in pictures[usage == "training"]}
    sets: dict[str, FaceSet] = {}
    for split in dict.fromkeys(usage.tolist()):
        chosen = np.flatnonzero(usage == split)
        duplicates = np.array([split != "training" and bytes(pictures[place]) in known for place in chosen])
        sets[split] = build_face_set(
            pictures[chosen],
            labels[chosen],
            source=path,
            votes=None if votes is None else votes[chosen],
            # Without the training pictures nothing can be said about duplicates.
            duplicate_of_training=duplicates if known else None,
        )
    if not sets:
        raise SourceRejectedError(f"table {path} holds no pictures")
    return sets


def _picture(text: str, *, line: int, source: Path) -> npt.NDArray[np.uint8]:
    try:
        levels = bytes(map(int, text.split()))
    except ValueError as exc:
        raise SourceRejectedError(f"table {source}, line {line}: expected pixels of 0…255, got something else") from exc
    if len(levels) != _NUM_PIXELS:
        raise SourceRejectedError(f"table {source}, line {line}: expected {_NUM_PIXELS} pixels, got {len(levels)}")
    return np.frombuffer(levels, dtype=np.uint8).reshape(SIDE_PIXELS, SIDE_PIXELS)


def _votes(path: Path, *, num: int) -> npt.NDArray[np.float32] | None:
    if not path.is_file():
        return None
    table = read_table(path, needed=FERPLUS_COLUMNS)
    votes = np.stack([integers(table, column, source=path) for column in FERPLUS_COLUMNS], axis=1)
    if len(votes) != num:
        raise SourceRejectedError(f"votes {path}: expected a line for each of {num} pictures, got {len(votes)}")
    return votes.astype(np.float32)
