"""FER2013 as contact sheets: `training.png` with `training.csv`, `publictest.png` with `publictest.csv`.

Picture k stands at row k // columns, column k % columns of the sheet; the csv has a line for each picture in the same
order: `label`, `duplicate_of_training` and ten `votes_*` columns; further columns are not read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emostream.errors import SourceRejectedError
from training.data.face_set import FaceSet, build_face_set, read_gray
from training.data.formats.tables import integers, read_table
from training.data.labels import FERPLUS_COLUMNS

SIDE_PIXELS = 48
SPLITS = ("training", "publictest", "privatetest")


def splits_of(folder: Path) -> tuple[str, ...] | None:
    """The splits that lie in a folder, in the order of SPLITS; None when it holds no contact sheets."""
    found = [name for name in SPLITS if (folder / f"{name}.png").is_file() and (folder / f"{name}.csv").is_file()]
    return tuple(found) or None


def load_split(folder: Path, *, split: str, show_progress: bool) -> FaceSet:
    """Read one split.

    Raises:
        SourceRejectedError: sheet or table missing, unreadable or not fitting each other.
    """
    del show_progress  # two files, read in a second
    table_path, sheet_path = folder / f"{split}.csv", folder / f"{split}.png"
    vote_columns = [f"votes_{column}" for column in FERPLUS_COLUMNS]
    table = read_table(table_path, needed=("label", "duplicate_of_training", *vote_columns))
    num = len(table["label"])
    sheet = read_gray(sheet_path)
    rows, columns = sheet.shape[0] // SIDE_PIXELS, sheet.shape[1] // SIDE_PIXELS
    if sheet.shape[0] % SIDE_PIXELS or sheet.shape[1] % SIDE_PIXELS or rows * columns < num:
        raise SourceRejectedError(
            f"contact sheet {sheet_path} does not fit its table: expected room for {num} pictures of {SIDE_PIXELS}×"
            f"{SIDE_PIXELS} pixels, got a sheet of {sheet.shape[1]}×{sheet.shape[0]} pixels"
        )
    grid = sheet.reshape(rows, SIDE_PIXELS, columns, SIDE_PIXELS).swapaxes(1, 2)
    pictures = grid.reshape(-1, SIDE_PIXELS, SIDE_PIXELS)[:num]
    votes = np.stack([integers(table, column, source=table_path) for column in vote_columns], axis=1)
    return build_face_set(
        np.ascontiguousarray(pictures),
        integers(table, "label", source=table_path),
        source=table_path,
        votes=votes.astype(np.float32),
        duplicate_of_training=integers(table, "duplicate_of_training", source=table_path) != 0,
    )
