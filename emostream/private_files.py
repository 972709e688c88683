"""Folders and files for their owner alone, whatever the umask: what holds passwords, or says who showed what."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_private_folder(folder: Path, *, is_ours: Callable[[str], bool] = lambda name: True) -> None:
    """Make the folder; what an earlier version left in it is narrowed as well.

    A folder that holds anything else is left as it is, and ours in it is narrowed: it may be somebody's home. So is one
    that belongs to another user, as volumes do that are mounted for a group.

    Args:
        folder: parents are made with the usual rights.
        is_ours: whether an entry of this name is ours to narrow, with all that is in it.

    Raises:
        OSError: it cannot be made or looked into.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    names = [entry.name for entry in folder.iterdir()]
    if all(map(is_ours, names)):
        _narrow(folder, FOLDER_MODE)
    for name in filter(is_ours, names):
        _narrow_all(folder / name)


def make_private_file(path: Path) -> None:
    """An empty file, or the one that is there, for its owner alone; its folder must be there.

    Raises:
        OSError: it cannot be made.
    """
    path.touch(mode=FILE_MODE)
    _narrow(path, FILE_MODE)


def _narrow_all(path: Path) -> None:
    if path.is_symlink():
        return
    if not path.is_dir():
        _narrow(path, FILE_MODE)
        return
    _narrow(path, FOLDER_MODE)
    for folder, folders, files in os.walk(path):
        for name in folders:
            _narrow(Path(folder, name), FOLDER_MODE)
        for name in files:
            _narrow(Path(folder, name), FILE_MODE)


def _narrow(path: Path, mode: int) -> None:
    """Take rights away; one that belongs to another user, or went away meanwhile, stays."""
    with contextlib.suppress(PermissionError, FileNotFoundError):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & mode)
