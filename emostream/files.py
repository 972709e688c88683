"""Atomic writes, files that only their owner can read, protection against overwriting sources, and what a name matches.

Atomic writes go to a temporary file in the same folder, which is then renamed. Files with passwords or events are
private to their owner, whatever the umask.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from emostream.errors import ConfigError, EmostreamError, SourceRejectedError

FOLDER_MODE = 0o700
FILE_MODE = 0o600

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def replacing(path: Path, *, is_shared: bool = False) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` when the block succeeds; otherwise `path` is unchanged.

    The content is flushed to disk before the rename, so that the file is complete even after a crash.

    Args:
        path: file to replace; its folder must exist.
        is_shared: whether several processes may write it at once; the last one wins.

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
    """Write a file atomically; arguments and errors as for `replacing`."""
    with replacing(path, is_shared=is_shared) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: Path, *, kept: str = "") -> Iterator[BinaryIO]:
    """As `replacing`, but creates the folder and raises errors with advice for the user.

    Args:
        path: file to replace.
        kept: what is still available after a failure, for the message.

    Raises:
        EmostreamError: the disk is full, or the file cannot be written.
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
    # torch's writer raises a RuntimeError after a failed write and chains the reason.
    while exc is not None and not isinstance(exc, OSError):
        exc = exc.__cause__ or exc.__context__
    return exc


def make_private_folder(folder: Path, *, is_ours: Callable[[str], bool] = lambda name: True) -> None:
    """Create a private folder, and restrict the permissions of files that an earlier version left in it.

    In a folder with other entries, which may be a home folder, only our entries are restricted. The same applies to a
    folder of another user, such as a volume mounted for a group.

    Args:
        folder: created with private permissions; its parents with the usual ones.
        is_ours: whether an entry of this name is ours, with all its content.

    Raises:
        OSError: it cannot be created or read.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    names = [entry.name for entry in folder.iterdir()]
    if all(map(is_ours, names)):
        _narrow(folder, FOLDER_MODE)
    for name in filter(is_ours, names):
        _narrow_all(folder / name)


def make_private_file(path: Path) -> None:
    """Create an empty private file, or make an existing one private; its folder must exist.

    Raises:
        OSError: it cannot be created.
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
    """Remove permissions; files of other users, or removed ones, are skipped."""
    with contextlib.suppress(PermissionError, FileNotFoundError):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & mode)


def check_is_not_source(path: Path, source: str, *, what: str) -> None:
    """Raise `ConfigError` when writing to `path` would overwrite the source that is about to be read."""
    try:
        is_source = path.samefile(source)
    except (OSError, ValueError):  # one of them does not exist, or is not a path
        return
    if is_source:
        raise ConfigError(f"{what} would overwrite its source {path}; choose another file")


def files_under(folder: str) -> list[Path] | None:
    """All files in a folder and the folders in it, by name; None when it is not a folder."""
    path = Path(folder)
    try:
        if not path.is_dir():
            return None
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return sorted(file for file in path.rglob("*") if file.is_file())


def files_matching(pattern: str) -> list[str] | None:
    """What matches a pattern such as `clips/*.mp4`, by name; None when it is not a pattern, or the name of a file.

    Raises:
        SourceRejectedError: nothing matches.
    """
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return None
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # Path.glob rejects absolute patterns
    if not found:
        raise SourceRejectedError(f"{pattern}: no file matches this pattern")
    return found
