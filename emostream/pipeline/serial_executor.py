"""Calls that must come one after the other, on threads that others use as well (Boost.Asio calls this a strand)."""

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
    """Runs calls one at a time, in the order they were submitted, in the threads of an executor.

    The thread that ends one call puts the next one up for the executor by itself, so an event loop that is busy holds
    nothing up. It goes behind what others have submitted meanwhile: each strand has its turn.

    Args:
        executor: shared; not shut down here.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._is_running = False

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The result is there when all calls before this one, and then this one, have been made.

        An error of a call is the error of its own future; the calls after it are made all the same. When the executor
        is shut down, calls that were not begun are cancelled.

        Raises:
            RuntimeError: the executor was shut down before.
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
        except RuntimeError:  # it was shut down: whoever waits must not wait for ever
            with self._lock:
                left, self._waiting = self._waiting, deque()
                self._is_running = False
            for future, _ in left:
                future.cancel()
            raise

    def _run_first(self) -> None:
        """Runs in a thread of the executor."""
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
            with contextlib.suppress(RuntimeError):  # whoever waits is told by `_start`
                self._start()
