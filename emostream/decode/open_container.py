"""A container of PyAV that may be closed from any thread while another one reads it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from av.container import InputContainer


class OpenContainer:
    """Holds what FFmpeg reads from, and releases it when no thread is inside FFmpeg.

    A blocked read cannot be interrupted from outside. `close` sets a flag, then tries the lock; readers give the lock
    back, then look at the flag. So one of them gets there with the lock free, and FFmpeg never works on a released
    container.
    """

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._lock = threading.Lock()  # held while FFmpeg works on the container
        self._container: InputContainer | None = None
        self._file: BinaryIO | None = None

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called; the container may still be in use."""
        return self._closed.is_set()

    @property
    def is_busy(self) -> bool:
        """Whether a thread is inside FFmpeg."""
        return self._lock.locked()

    @property
    def is_released(self) -> bool:
        """Whether nothing is held."""
        return self._container is None and self._file is None

    def hold(self, container: InputContainer | None = None, file: BinaryIO | None = None) -> None:
        """Take a container, or the file that it reads, to be released later. Called inside `used`."""
        self._container = container or self._container
        self._file = file or self._file

    @contextmanager
    def used(self) -> Iterator[InputContainer | None]:
        """Keeps other threads out; gives the container, None before it was opened and after it was closed."""
        try:
            with self._lock:
                yield None if self.is_closed else self._container
        finally:
            self._release_if_closed()

    def reopen(self) -> None:
        """Release the container, so that another one can be held; not if it was closed for good."""
        with self.used() as container:
            if container is not None:
                container.close()
                self._container = None

    def close(self) -> None:
        """Release everything, now or when a read in another thread ends. Safe to call twice and from any thread."""
        self._closed.set()
        self._release_if_closed()

    def wait_unless_closed(self, seconds: float) -> None:
        """Do nothing for so long, or until it is closed."""
        self._closed.wait(seconds)

    def _release_if_closed(self) -> None:
        if self.is_closed and self._lock.acquire(blocking=False):
            try:
                container, self._container = self._container, None
                file, self._file = self._file, None
                if container is not None:
                    container.close()
                if file is not None:
                    file.close()
            finally:
                self._lock.release()
