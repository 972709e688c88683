"""Runs calls one after the other on a shared executor (called a strand in Boost.Asio)."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SerialExecutor:
    """Runs calls one at a time, in the order of submission, on the threads of an executor.

    The thread that finishes a call submits the next one itself, so a busy event loop does not delay it. It is queued
    behind the calls that others have submitted, so that serial executors take turns.

    Args:
        executor: shared; not shut down.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._is_running = False

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit a call; it runs when all earlier ones have finished.

        An error of a call is raised by its own future only; later calls still run. When the executor is shut down,
        calls that have not started are cancelled.

        Raises:
            RuntimeError: the executor is already shut down.
        """
        future: Future[T] = Future()
        with self._lock:
            self._waiting.append((future, functools.partial(function, *args, **kwargs)))
            must_start = not self._is_running
            self._is_running = True
        if must_start:
            self._start()
        return future

    def _start(self) -> None:
        try:
            self._executor.submit(self._run_first)
        except RuntimeError:  # the executor was shut down: cancel, so that waiters are released
            with self._lock:
                left, self._waiting = self._waiting, deque()
                self._is_running = False
            for future, _ in left:
                future.cancel()
            raise

    def _run_first(self) -> None:
        """Run the first waiting call, in a thread of the executor."""
        with self._lock:
            future, call = self._waiting.popleft()
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)
        with self._lock:
            self._is_running = bool(self._waiting)
            must_go_on = self._is_running
        if must_go_on:
            with contextlib.suppress(RuntimeError):  # `_start` has cancelled the waiting calls
                self._start()
