"""An event loop in a thread of its own: asynchronous parts for code that blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import wait
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines and waits for them, also where the caller's thread runs an event loop, as in a notebook.

    All coroutines of one object run in the same loop, so connections stay usable from call to call. The thread does
    not keep the process alive.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result. An interrupt (Ctrl-C) cancels it, and is raised when it has ended."""
        task: asyncio.Task[Any] | None = None

        async def noted() -> T:
            nonlocal task
            task = asyncio.current_task()
            return await coroutine

        def cancel() -> None:
            if task is not None:
                task.cancel()

        future = asyncio.run_coroutine_threadsafe(noted(), self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                self._loop.call_soon_threadsafe(cancel)
                wait([future])
            raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run a last coroutine, then end the thread."""
        if threading.current_thread() is self._thread:  # the garbage collector calls from whatever thread it runs in
            self._loop.create_task(last).add_done_callback(lambda _: self._loop.stop())
            return
        try:
            self.run(last)
            self.run(self._loop.shutdown_asyncgens())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
