"""Labelled pictures of faces, from any of the forms they come in, as one in-memory set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from emostream.errors import ConfigError, SourceRejectedError
from training.config import DataConfig
from training.data.face_set import FaceSet, join_face_sets
from training.data.formats import affectnet, ck_plus, class_folders, contact_sheets, expw, raf_db
from training.data.formats.kaggle_csv import load_kaggle_csv
from training.data.formats.npz_file import load_npz
from training.data.splits import split_faces, without_leaks

ALL = "all"
TRAINING_SPLIT = "training"
HELD_OUT = "held-out"
"""The tenth of the training pictures that runs keep apart by default, and that chooses."""
KAGGLE_NAME = "fer2013.csv"


class Layout(Protocol):
    """A form of data set in a folder: each module of `training.data.formats` that reads folders is one."""

    def splits_of(self, folder: Path) -> tuple[str, ...] | None:
        """Its splits, none where it comes whole; None when the folder does not hold this form."""
        ...

    def load_split(self, folder: Path, *, split: str, show_progress: bool) -> FaceSet:
        """Read one split, or all where it comes whole."""
        ...


# In this order, since any folder with folders in it may be meant as class folders.
_LAYOUTS: tuple[Layout, ...] = (contact_sheets, raf_db, affectnet, ck_plus, expw, class_folders)


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set whose form was recognised.

    Attributes:
        path: where it is.
        splits: the splits it comes in; none where it comes whole.
        load: split → its pictures; any name gives all where it comes whole.
    """

    path: Path
    splits: tuple[str, ...]
    load: Callable[[str], FaceSet]

    def choose(self, split: str | None) -> tuple[str, ...]:
        """The splits that are meant by a name, by `all`, or by None where there is only one.

        Raises:
            ConfigError: the split is not there, or there are several and none was named.
        """
        if not self.splits:
            return (ALL,)
        if split == ALL or (split is None and len(self.splits) == 1):
            return self.splits
        if split in self.splits:
            return (split,)
        what = "has several splits" if split is None else f"has no split {split!r}"
        held_out = (HELD_OUT,) if TRAINING_SPLIT in self.splits else ()
        raise ConfigError(f"data {self.path} {what}; choose with --split: {', '.join((*self.splits, *held_out, ALL))}")

    def faces(self, split: str | None, *, class_names: Sequence[str] | None = None) -> FaceSet:
        """The pictures of a split (see `choose`), for a net of these classes (`FaceSet.without_foreign_contempt`).

        `held-out` is the second of `held_out_parts`.
        """
        if split == HELD_OUT and HELD_OUT not in self.splits:
            return held_out_parts(self, class_names=class_names)[1]
        faces = join_face_sets([self.load(name) for name in self.choose(split)])
        return faces if class_names is None else faces.without_foreign_contempt(class_names)


def held_out_parts(data_set: DataSet, *, class_names: Sequence[str] | None = None) -> tuple[FaceSet, FaceSet]:
    """What runs with the default settings learn from, and the tenth of it that they keep apart by photograph.

    Of the split `training`, or of all where the data comes whole.

    Raises:
        SourceRejectedError: the data cannot be used.
        ConfigError: there are splits, but none called `training`, or too few pictures.
    """
    defaults = DataConfig()
    faces = data_set.faces(TRAINING_SPLIT if data_set.splits else None, class_names=class_names)
    rest, held_out = split_faces(
        faces, (1 - defaults.validation_share, defaults.validation_share), seed=defaults.split_seed
    )
    return rest, held_out


def open_data_set(path: Path, *, show_progress: bool = False) -> DataSet:
    """Recognise the form of a data set (training/README.md lists them).

    Args:
        path: file or folder.
        show_progress: show a bar while many picture files are read.

    Raises:
        SourceRejectedError: the data cannot be used; the message says what was expected.
    """
    if not path.exists():
        raise SourceRejectedError(f"data {path} does not exist")
    if path.is_dir():
        return _open_folder(path, show_progress=show_progress)
    if path.suffix.lower() == ".npz":
        return DataSet(path, (), lambda _: load_npz(path))
    if path.suffix.lower() == ".csv":
        return _open_kaggle_csv(path)
    raise SourceRejectedError(
        f"data {path}: expected a folder, a .npz or a .csv file, got {path.suffix or 'no suffix'}"
    )


def _open_folder(folder: Path, *, show_progress: bool) -> DataSet:
    if (folder / KAGGLE_NAME).is_file() and contact_sheets.splits_of(folder) is None:
        return _open_kaggle_csv(folder / KAGGLE_NAME)
    for layout in _LAYOUTS:
        splits = layout.splits_of(folder)
        if splits is not None:
            return DataSet(folder, splits, _reader(layout, folder, show_progress=show_progress))
    raise AssertionError("class_folders takes every folder")


def _reader(layout: Layout, folder: Path, *, show_progress: bool) -> Callable[[str], FaceSet]:
    return lambda split: layout.load_split(folder, split=split, show_progress=show_progress)


def _open_kaggle_csv(path: Path) -> DataSet:
    sets = load_kaggle_csv(path)
    return DataSet(path, tuple(sets), sets.__getitem__)


def load_faces(
    path: Path, *, split: str | None = None, class_names: Sequence[str] | None = None, show_progress: bool = False
) -> FaceSet:
    """Read a data set, whatever its form (training/README.md lists them).

    Args:
        path: file or folder.
        split: `training`, `publictest`, …, `all` for every split together; needed only where there are several.
            A form without splits is read whole.
        class_names: of the net that is asked about them: contempt, which many sets have beside the seven, is left out
            where it does not know it. None reads all.
        show_progress: show a bar while many picture files are read.

    Raises:
        SourceRejectedError: the data cannot be used; the message says what was expected.
        ConfigError: the split is not there, or there are several and none was named.
    """
    return open_data_set(path, show_progress=show_progress).faces(split, class_names=class_names)


def load_splits(config: DataConfig, *, show_progress: bool = False) -> tuple[FaceSet, FaceSet]:
    """What is learned from, and what is measured on; both with the classes that a net can learn from them.

    These are the classes that occur; or all seven, where there are people's votes, which tell of each.

    The two come from `path` and `validation_path`, or are two splits of `path`; where that has no splits, or no
    `validation_split` is named, `validation_share` of it is kept apart by subject and duplicate. With `leak_free`,
    training pictures of subjects or duplicates that validation has are taken out.

    Raises:
        SourceRejectedError: the data cannot be used; the message says what was expected.
        ConfigError: a split is not there, both would be the same pictures, or subjects are asked for and not known.
    """
    training, validation = _same_classes(*_training_and_validation(config, show_progress=show_progress))
    if config.require_subjects:
        _check_subjects(training, Path(config.path))
        _check_subjects(validation, Path(config.validation_path or config.path))
    return (without_leaks(training, validation) if config.leak_free else training), validation


def _training_and_validation(config: DataConfig, *, show_progress: bool) -> tuple[FaceSet, FaceSet]:
    data_set = open_data_set(Path(config.path), show_progress=show_progress)
    faces = data_set.faces(config.train_split)
    if config.validation_path is not None:
        validation = load_faces(
            Path(config.validation_path), split=config.validation_split, show_progress=show_progress
        )
    elif not data_set.splits or config.validation_split is None:
        share = config.validation_share
        faces, validation = split_faces(faces, (1 - share, share), seed=config.split_seed)
    else:
        shared = set(data_set.choose(config.train_split)) & set(data_set.choose(config.validation_split))
        if shared:
            raise ConfigError(
                f"data.train_split and data.validation_split both hold {sorted(shared)[0]!r}: name different ones, or "
                "set data.validation_split=null to keep a share of the training pictures for validation"
            )
        validation = data_set.faces(config.validation_split)
    return faces, validation


def _same_classes(training: FaceSet, validation: FaceSet) -> tuple[FaceSet, FaceSet]:
    extra = tuple(validation.unknown_classes(training.class_names))
    if training.has_votes and not extra:
        return training, validation
    known = training.class_names + extra
    training, validation = training.with_classes(known), validation.with_classes(known)
    used = np.union1d(training.labels, validation.labels)
    if len(used) < 2:
        raise ConfigError(
            f"all {len(training) + len(validation)} pictures are of the class {known[int(used[0])]}: a net needs two "
            "classes or more to tell apart"
        )
    class_names = tuple(known[place] for place in used)
    return training.with_classes(class_names), validation.with_classes(class_names)


def _check_subjects(faces: FaceSet, path: Path) -> None:
    num_unknown = len(faces) if faces.subjects is None else int((faces.subjects == "").sum())
    if num_unknown:
        raise ConfigError(
            f"data {path} does not say who is in {num_unknown} of {len(faces)} pictures: CK+ does, and a .npz file "
            "with an array 'subject'; or set data.require_subjects=false"
        )
