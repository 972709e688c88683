"""Files that are complete or not there: written beside their place and then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from emostream.errors import EmostreamError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def whole_file(path: Path, *, kept: str = "") -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends well; otherwise `path` stays what it was.

    Args:
        path: what to replace; its folder is made when needed.
        kept: what the reader still has when this fails, for the message.

    Raises:
        EmostreamError: the disk is full or the place cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as exc:
        cause = _file_error(exc)
        if cause is None:
            raise
        reason = cause.strerror or str(cause)
        hint = f"; {kept}" if kept else ""
        advice = "make room" if cause.errno in _FULL else "choose another folder"
        raise EmostreamError(f"{path} cannot be written: {reason}{hint}: {advice} and start again") from exc
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _file_error(exc: BaseException | None) -> OSError | None:
    # torch's writer answers a failed write with a RuntimeError of its own and leaves the reason behind it.
    while exc is not None and not isinstance(exc, OSError):
        exc = exc.__cause__ or exc.__context__
    return exc
