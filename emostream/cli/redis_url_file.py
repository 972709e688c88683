"""The URL of the Redis server that `emostream serve` starts, in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from emostream.files import FILE_MODE, make_private_folder


def redis_url_folder() -> Path:
    """Where these files are."""
    return platformdirs.user_state_path("emostream")


@contextlib.contextmanager
def redis_url_file(url: str, *, port: int) -> Iterator[Path]:
    """A file with the URL, password included, for as long as the context lasts.

    Args:
        url: of the server.
        port: it listens on; names the file, because several services may run.

    Raises:
        OSError: the file cannot be written.
    """
    folder = redis_url_folder()
    make_private_folder(folder, is_ours=_is_ours)
    path = folder / f"redis-{port}.url"
    path.unlink(missing_ok=True)  # of a service that was killed, whatever its mode is
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{url}\n")
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
            folder.rmdir()  # where no other service runs


def _is_ours(name: str) -> bool:
    return name.startswith("redis-") and name.endswith(".url")
