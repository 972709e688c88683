"""Labelled pictures of faces, from any of the forms they come in, as one in-memory set."""

from __future__ import annotations

from pathlib import Path

from emostream.errors import ConfigError, SourceRejectedError
from training.datasets import class_folders, contact_sheets
from training.datasets.kaggle_csv import load_kaggle_csv
from training.datasets.npz_file import load_npz
from training.faces import FaceSet, join_face_sets

ALL = "all"
KAGGLE_NAME = "fer2013.csv"


def load_faces(path: Path, *, split: str | None = None, show_progress: bool = False) -> FaceSet:
    """Read a data set, whatever its form.

    Forms: a folder of contact sheets (`training.png`, `training.csv`, …), `fer2013.csv` as Kaggle has it (or the folder
    with it), a folder of class folders (or of `train`, `test`, … with class folders), a `.npz` file.

    Args:
        path: file or folder.
        split: `training`, `publictest`, …, `all` for every split together; needed only where there are several.
            A form without splits is read whole.
        show_progress: show a bar while many picture files are read.

    Raises:
        SourceRejectedError: the data cannot be used; the message says what was expected.
        ConfigError: the split is not there, or there are several and none was named.
    """
    if not path.exists():
        raise SourceRejectedError(f"data {path} does not exist")
    if path.is_dir():
        return _from_folder(path, split=split, show_progress=show_progress)
    if path.suffix.lower() == ".npz":
        return load_npz(path)
    if path.suffix.lower() == ".csv":
        return _choose(load_kaggle_csv(path), split=split, source=path)
    raise SourceRejectedError(
        f"data {path}: expected a folder, a .npz or a .csv file, got {path.suffix or 'no suffix'}"
    )


def _from_folder(folder: Path, *, split: str | None, show_progress: bool) -> FaceSet:
    sheets = contact_sheets.splits_of(folder)
    if sheets:
        chosen = _chosen_splits(sheets, split=split, source=folder)
        return join_face_sets([contact_sheets.load_contact_sheet(folder, split=name) for name in chosen])
    if (folder / KAGGLE_NAME).is_file():
        return _choose(load_kaggle_csv(folder / KAGGLE_NAME), split=split, source=folder / KAGGLE_NAME)
    parts = class_folders.splits_of(folder)
    if not parts:
        return class_folders.load_class_folders(folder, show_progress=show_progress)
    chosen = _chosen_splits(tuple(parts), split=split, source=folder)
    loaded = [class_folders.load_class_folders(parts[name], show_progress=show_progress) for name in chosen]
    return join_face_sets(loaded)


def _choose(sets: dict[str, FaceSet], *, split: str | None, source: Path) -> FaceSet:
    return join_face_sets([sets[name] for name in _chosen_splits(tuple(sets), split=split, source=source)])


def _chosen_splits(available: tuple[str, ...], *, split: str | None, source: Path) -> tuple[str, ...]:
    if split == ALL or (split is None and len(available) == 1):
        return available
    if split in available:
        return (split,)
    what = "has several splits" if split is None else f"has no split {split!r}"
    raise ConfigError(f"data {source} {what}; choose with --split: {', '.join((*available, ALL))}")
