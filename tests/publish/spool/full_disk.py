"""A disk without room, for files of this process."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

_ROOM_BYTES = 10


@contextmanager
def full_disk(*, room_bytes: int = _ROOM_BYTES) -> Iterator[None]:
    """No file of this process grows beyond some bytes: the system writes a part of what it is given, then refuses.

    The limit is that of `ulimit -f`, which stands in for a full disk: a partial write and an error are the same there.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
