"""Files that are complete or not there: written beside their place and then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from emostream.errors import EmostreamError

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
