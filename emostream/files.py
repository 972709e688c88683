"""Files that are complete or not there, files for their owner alone, and files that are not written over.

What is written whole is written beside its place and then renamed into it. What holds passwords, or says who showed
what, is for its owner alone, whatever the umask.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from emostream.errors import ConfigError, EmostreamError

FOLDER_MODE = 0o700
FILE_MODE = 0o600

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def replacing(path: Path, *, is_shared: bool = False) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends well; otherwise `path` stays what it was.

    The content is on the disk before it gets the name, so it is whole also when the machine dies on the way.

    Args:
        path: what to replace; its folder must exist.
        is_shared: several processes may write it at once; the last one wins.

    Raises:
        OSError: the file cannot be written.
    """
    token = f".{secrets.token_hex(4)}" if is_shared else ""
    partial = path.with_name(f".{path.name}{token}.part")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, is_shared: bool = False) -> None:
    """Write all of a file or nothing; arguments and errors as for `replacing`."""
    with replacing(path, is_shared=is_shared) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: Path, *, kept: str = "") -> Iterator[BinaryIO]:
    """`replacing` for files that people wait for: makes the folder, and says what to do when that is not possible.

    Args:
        path: what to replace; its folder is made when needed.
        kept: what the reader still has when this fails, for the message.

    Raises:
        EmostreamError: the disk is full or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            yield file
    except (OSError, RuntimeError) as exc:
        cause = _file_error(exc)
        if cause is None:
            raise
        reason = cause.strerror or str(cause)
        hint = f"; {kept}" if kept else ""
        advice = "make room" if cause.errno in _FULL else "choose another folder"
        raise EmostreamError(f"{path} cannot be written: {reason}{hint}: {advice} and start again") from exc


def _file_error(exc: BaseException | None) -> OSError | None:
    # torch's writer answers a failed write with a RuntimeError of its own and leaves the reason behind it.
    while exc is not None and not isinstance(exc, OSError):
        exc = exc.__cause__ or exc.__context__
    return exc


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


def check_is_not_source(path: Path, source: str, *, what: str) -> None:
    """Raise `ConfigError` when writing there would destroy what is about to be read."""
    try:
        is_source = path.samefile(source)
    except (OSError, ValueError):  # one of them does not exist, or is no path
        return
    if is_source:
        raise ConfigError(f"{what} would overwrite its source {path}; choose another name")
