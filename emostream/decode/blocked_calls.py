"""Calls into sources that were left behind because they did not return, counted for the whole process.

A call inside FFmpeg or the operating system (a file server that is away) cannot be ended from outside, and its thread
keeps a connection and memory. So their number is known, and a process with too many of them can be replaced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class BlockedCalls:
    """Threads that were left behind. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._threads: dict[threading.Thread, float] = {}

    def left_behind(self, thread: threading.Thread) -> None:
        """No one waits for this thread any more; it may end soon, or never."""
        with self._lock:
            self._forget_ended()
            self._threads[thread] = self._clock()

    def count(self, *, min_seconds: float = 0.0) -> int:
        """How many were left behind at least this long ago and still run."""
        with self._lock:
            self._forget_ended()
            until = self._clock() - min_seconds
            return sum(left_at <= until for left_at in self._threads.values())

    def _forget_ended(self) -> None:
        self._threads = {thread: left_at for thread, left_at in self._threads.items() if thread.is_alive()}


BLOCKED_CALLS = BlockedCalls()
"""Of this process."""
