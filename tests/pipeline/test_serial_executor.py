"""Strands: order, turns, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.pipeline.serial_executor import SerialExecutor


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.mark.heavy
@given(delays_ms=st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_calls_are_made_one_at_a_time_and_in_order(delays_ms: list[int]) -> None:
    running, seen = threading.Lock(), []

    def call(number: int, delay_ms: int) -> int:
        assert running.acquire(blocking=False), "two calls at once"
        time.sleep(delay_ms / 1000)
        seen.append(number)
        running.release()
        return number

    with ThreadPoolExecutor(3) as executor:
        serial_executor = SerialExecutor(executor)
        results = [serial_executor.submit(call, number, delay_ms).result for number, delay_ms in enumerate(delays_ms)]
        assert [result(timeout=10) for result in results] == list(range(len(delays_ms)))
    assert seen == list(range(len(delays_ms)))


def test_strands_run_beside_each_other(executor: ThreadPoolExecutor) -> None:
    meeting = threading.Barrier(3, timeout=10)
    calls = [SerialExecutor(executor).submit(meeting.wait) for _ in range(3)]
    assert sorted(call.result(timeout=10) for call in calls) == [0, 1, 2]


def test_each_strand_has_its_turn() -> None:
    with ThreadPoolExecutor(1) as executor:
        may_begin = threading.Event()
        executor.submit(may_begin.wait, 10)
        seen: list[str] = []
        one, other = SerialExecutor(executor), SerialExecutor(executor)
        calls = [
            serial_executor.submit(seen.append, name)
            for name, serial_executor in (("a1", one), ("a2", one), ("b1", other))
        ]
        may_begin.set()
        for call in calls:
            call.result(timeout=10)
    assert seen == ["a1", "b1", "a2"]


def test_an_error_is_that_of_its_call_alone(executor: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise ValueError("of this call")

    serial_executor = SerialExecutor(executor)
    failing, following = serial_executor.submit(fail), serial_executor.submit(len, "after it")
    with pytest.raises(ValueError, match="of this call"):
        failing.result(timeout=10)
    assert following.result(timeout=10) == 8


def test_a_cancelled_call_is_left_out(executor: ThreadPoolExecutor) -> None:
    serial_executor, may_go_on, seen = SerialExecutor(executor), threading.Event(), list[str]()
    first = serial_executor.submit(may_go_on.wait, 10)
    second, third = serial_executor.submit(seen.append, "second"), serial_executor.submit(seen.append, "third")
    assert second.cancel()
    may_go_on.set()
    assert first.result(timeout=10) and third.result(timeout=10) is None
    assert seen == ["third"]


def test_waiting_calls_end_when_the_executor_is_shut_down() -> None:
    executor, has_begun, may_go_on = ThreadPoolExecutor(1), threading.Event(), threading.Event()
    serial_executor = SerialExecutor(executor)

    def first_call() -> str:
        has_begun.set()
        may_go_on.wait(10)
        return "done"

    first, second = serial_executor.submit(first_call), serial_executor.submit(len, "never")
    assert has_begun.wait(10)
    executor.shutdown(wait=False)
    may_go_on.set()
    assert first.result(timeout=10) == "done"
    with pytest.raises(CancelledError):
        second.result(timeout=10)
    with pytest.raises(RuntimeError):
        serial_executor.submit(len, "late")
