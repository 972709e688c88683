"""Detects that Ray has ended. Ray itself does not report it, or aborts the program after a minute."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType
from typing import Any, Self

import ray

_ASK_SECONDS = 2.0
# Ray's head reports a dead node within about 17 s. A dead head reports nothing; Ray aborts this program after 60 s.
_SILENCE_SECONDS = 30.0


class RayWatch:
    """A context manager that watches the Ray instance to which this program is connected.

    Args:
        gone: set when Ray has ended.
        silence_seconds: Ray counts as ended when it does not respond for this long.
    """

    def __init__(self, gone: threading.Event, *, silence_seconds: float = _SILENCE_SECONDS) -> None:
        self.why_gone = ""
        """The reason; empty while Ray is running."""
        self._gone = gone
        self._silence_seconds = silence_seconds
        self._closed = threading.Event()
        self._answered_seconds = time.monotonic()

    def __enter__(self) -> Self:
        """Start watching."""
        self._node_id = ray.get_runtime_context().get_node_id()
        self._answered_seconds = time.monotonic()
        # Two threads, because a call to a dead head does not return.
        for work in (self._ask, self._wait):
            threading.Thread(target=work, name=f"emostream-ray{work.__name__}", daemon=True).start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop watching; a pending call is abandoned."""
        self._closed.set()

    def _ask(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(Exception):  # of many types; the same as no response
                nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
                if any(node["NodeID"] == self._node_id and not node["Alive"] for node in nodes):
                    self._end("Ray's process on this machine (raylet) has ended")
                    return
                self._answered_seconds = time.monotonic()
            self._closed.wait(_ASK_SECONDS)

    def _wait(self) -> None:
        while not self._closed.wait(_ASK_SECONDS / 2):
            seconds = time.monotonic() - self._answered_seconds
            if seconds > self._silence_seconds:
                self._end(f"Ray's head (GCS) has not responded for {seconds:.0f} s")
                return

    def _end(self, why: str) -> None:
        if not self._closed.is_set() and not self.why_gone:
            self.why_gone = why
            self._gone.set()
