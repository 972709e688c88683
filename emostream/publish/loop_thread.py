"""An event loop in a thread of its own, so that programs with and without a loop use the same calls."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for callers in any thread, also in one whose own loop is running (a notebook).

    The thread starts with the first coroutine. Thread-safe.

    Args:
        name: of the thread.
        make_loop: makes its event loop.
    """

    def __init__(
        self, name: str, *, make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    ) -> None:
        self._name = name
        self._make_loop = make_loop
        self._lock = threading.Lock()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run it in the loop; the future can be waited for, awaited by `asyncio.wrap_future`, and cancelled.

        Once this is closed, the future is cancelled and the coroutine does not run.
        """
        with self._lock:
            if not self._is_closed:
                return asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        coroutine.close()
        never: concurrent.futures.Future[T] = concurrent.futures.Future()
        never.cancel()
        never.set_running_or_notify_cancel()
        return never

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop and wait for its result.

        An interrupt (Ctrl-C) cancels it, and is raised when it has ended. Once this is closed, the coroutine does not
        run (`CancelledError`).
        """
        task: asyncio.Task[Any] | None = None

        async def noted() -> T:
            nonlocal task
            task = asyncio.current_task()
            return await coroutine

        def cancel() -> None:
            if task is not None:
                task.cancel()

        future = self.submit(noted())
        try:
            return future.result()
        except BaseException:
            if not future.done() and (loop := self._loop) is not None:
                loop.call_soon_threadsafe(cancel)
                concurrent.futures.wait([future])
            raise
        finally:
            coroutine.close()  # where it did not run; nothing else

    def close(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        """Run a last coroutine, cancel what runs, wait until it has ended, and end the thread. May be called again."""
        loop, thread = self._loop, self._thread
        if thread is threading.current_thread() and loop is not None:  # by the garbage collector, which runs anywhere
            self._is_closed = True
            stop = loop.stop
            loop.create_task(last or asyncio.sleep(0)).add_done_callback(lambda _: stop())
            return
        try:
            if last is not None:
                self.run(last)
        finally:
            with self._lock:
                self._is_closed = True
                loop, thread = self._loop, self._thread
                self._loop = self._thread = None
            if loop is not None and thread is not None:
                loop.call_soon_threadsafe(loop.stop)
                thread.join()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = self._make_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def call_before_exit(function: Callable[[], None]) -> None:
    """Call it when the program ends, before threads of executors are waited for.

    `atexit` comes after that: a run that the program left in the middle holds such a thread, so the program would never
    end. The earlier hook is private in CPython (3.9 to 3.14); where it is missing, `atexit` has to do.
    """
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    register(function)
