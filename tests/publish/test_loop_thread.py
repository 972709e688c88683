"""Coroutines from code that blocks: with and without a running loop, interrupted, closed."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import CancelledError
from functools import partial

import pytest

from emostream.publish.loop_thread import LoopThread


async def loop_of_this() -> asyncio.AbstractEventLoop:
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


async def nothing() -> None:
    pass


def use() -> None:
    runner = LoopThread("test")
    assert runner.run(loop_of_this()) is runner.run(loop_of_this())
    with pytest.raises(ZeroDivisionError):
        runner.run(fail())
    closed = []

    async def last() -> None:
        closed.append(True)

    runner.close(last())
    assert closed
    assert "test" not in [thread.name for thread in threading.enumerate()]


async def fail() -> None:
    raise ZeroDivisionError


def test_runs_without_a_loop() -> None:
    use()


async def test_runs_inside_a_running_loop() -> None:
    use()


def test_an_interrupt_cancels_what_runs() -> None:
    runner = LoopThread("test")
    ended = []

    async def interrupted() -> None:
        try:
            interrupt = partial(signal.pthread_kill, threading.main_thread().ident or 0, signal.SIGINT)
            asyncio.get_running_loop().call_later(0.1, interrupt)
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        runner.run(interrupted())
    assert ended
    assert runner.run(loop_of_this())
    runner.close(nothing())


def test_closing_in_its_own_thread_does_not_wait_for_itself() -> None:
    runner = LoopThread("test")

    async def close() -> None:
        runner.close(nothing())

    runner.run(close())
    for thread in threading.enumerate():
        if thread.name == "test":
            thread.join(10)
            assert not thread.is_alive()


def test_what_comes_after_the_end_does_not_run() -> None:
    runner = LoopThread("test")
    runner.close()
    with pytest.raises(CancelledError):
        runner.run(nothing())
