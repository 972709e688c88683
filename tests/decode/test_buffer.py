"""The frame buffer: order, bounds, policies, errors, close, from a real thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.decode.buffer import FrameBuffer, OverflowPolicy
from emostream.domain.frame import Frame
from emostream.errors import DecodeError
from tests.media import wait_until

LUMA = np.zeros((1, 1), np.uint8)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_frame(index: int) -> Frame:
    return Frame("s", index, index / 25, NOW, LUMA)


def put_all(
    buffer: FrameBuffer, num_frames: int, *, error: BaseException | None = None, pauses: Sequence[int] = ()
) -> None:
    for index in range(num_frames):
        if index in pauses:
            time.sleep(0.001)
        if not buffer.put(make_frame(index)):
            return
    buffer.finish(error)


async def take_all(buffer: FrameBuffer, *, max_frames: int = 4, min_frames: int = 1) -> list[int]:
    indexes: list[int] = []
    while frames := await buffer.get_many(max_frames, min_frames=min_frames):
        assert len(frames) <= max_frames
        indexes += [frame.frame_index for frame in frames]
    return indexes


@settings(max_examples=25, deadline=None)
@given(
    num_frames=st.integers(0, 200),
    capacity=st.integers(1, 10),
    max_frames=st.integers(1, 12),
    min_frames=st.integers(1, 12),
    pauses=st.sets(st.integers(0, 200), max_size=5),
)
def test_files_lose_nothing(num_frames: int, capacity: int, max_frames: int, min_frames: int, pauses: set[int]) -> None:
    async def run() -> list[int]:
        buffer = FrameBuffer(policy=OverflowPolicy.WAIT, max_frames=capacity)
        filling = asyncio.to_thread(put_all, buffer, num_frames, pauses=sorted(pauses))
        _, indexes = await asyncio.gather(filling, take_all(buffer, max_frames=max_frames, min_frames=min_frames))
        assert buffer.num_dropped == 0
        return indexes

    assert asyncio.run(run()) == list(range(num_frames))


@settings(max_examples=25, deadline=None)
@given(num_frames=st.integers(0, 200), capacity=st.integers(1, 10), pauses=st.sets(st.integers(0, 200), max_size=5))
def test_live_keeps_order_and_counts_what_it_drops(num_frames: int, capacity: int, pauses: set[int]) -> None:
    async def run() -> tuple[list[int], int]:
        buffer = FrameBuffer(policy=OverflowPolicy.DROP_OLDEST, max_frames=capacity)
        filling = asyncio.to_thread(put_all, buffer, num_frames, pauses=sorted(pauses))
        _, indexes = await asyncio.gather(filling, take_all(buffer))
        return indexes, buffer.num_dropped

    indexes, num_dropped = asyncio.run(run())
    assert indexes == sorted(set(indexes))
    assert len(indexes) + num_dropped == num_frames
    assert indexes[-1:] == list(range(num_frames))[-1:]


def test_live_drops_the_oldest() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.DROP_OLDEST, max_frames=3)
    put_all(buffer, 10)
    assert asyncio.run(take_all(buffer)) == [7, 8, 9]
    assert buffer.num_dropped == 7


def test_large_frames_are_fewer() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.DROP_OLDEST, max_frames=8, max_pixels=25)
    for index, side in enumerate((1, 3, 3, 9, 2, 2, 2)):
        buffer.put(replace(make_frame(index), luma=np.zeros((side, side), np.uint8)))
        assert len(buffer) == 1 or buffer._num_pixels <= 25
    assert len(buffer) == 3, "the one that is larger than the bound had to go for the next"

    async def take() -> list[list[int]]:
        return [[frame.frame_index for frame in await buffer.get_many(8, max_pixels=size)] for size in (8, 1)]

    assert asyncio.run(take()) == [[4, 5], [6]]
    assert (buffer.num_dropped, buffer._num_pixels) == (4, 0)


@pytest.mark.parametrize("max_pixels", [1, 3, 100])
def test_files_wait_for_room_in_pixels(max_pixels: int) -> None:
    async def run() -> list[int]:
        buffer = FrameBuffer(policy=OverflowPolicy.WAIT, max_pixels=max_pixels)
        filling = asyncio.to_thread(put_all, buffer, 50)
        _, indexes = await asyncio.gather(filling, take_all(buffer))
        return indexes

    assert asyncio.run(run()) == list(range(50))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(OverflowPolicy.WAIT, [0, 1, 2]), (OverflowPolicy.DROP_OLDEST, [2])],
    ids=["file", "live"],
)
async def test_only_live_frames_get_stale(policy: OverflowPolicy, expected: list[int]) -> None:
    ticks = iter([0.0, 0.2, 1.0, 1.3, 1.3])
    buffer = FrameBuffer(policy=policy, clock=lambda: next(ticks))
    put_all(buffer, 3)
    assert [frame.frame_index for frame in await buffer.get_many(8)] == expected
    assert buffer.num_dropped == 3 - len(expected)
    assert buffer.wait_seconds == pytest.approx(1.3 if policy is OverflowPolicy.WAIT else 0.3)


async def test_the_last_frame_is_kept_however_long_it_waited() -> None:
    ticks = iter([0.0, 9.0])
    buffer = FrameBuffer(policy=OverflowPolicy.DROP_OLDEST, clock=lambda: next(ticks))
    put_all(buffer, 1)
    assert len(await buffer.get_many(8)) == 1


async def test_waits_for_as_many_as_are_wanted() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)
    waiting = asyncio.create_task(buffer.get_many(8, min_frames=3))
    for index in range(3):
        await asyncio.sleep(0.01)
        assert not waiting.done()
        buffer.put(make_frame(index))
    assert len(await waiting) == 3


async def test_fewer_are_given_where_no_more_have_room() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT, max_frames=2)
    waiting = asyncio.create_task(buffer.get_many(8, min_frames=8))
    filling = asyncio.create_task(asyncio.to_thread(put_all, buffer, 3))
    assert len(await waiting) == 2
    assert [frame.frame_index for frame in await buffer.get_many(8, min_frames=8)] == [2]
    await filling


async def test_live_frames_never_wait_for_others() -> None:
    with pytest.raises(ValueError, match=r"min_frames.* 2"):
        await FrameBuffer(policy=OverflowPolicy.DROP_OLDEST).get_many(8, min_frames=2)


@pytest.mark.parametrize("end", [FrameBuffer.finish, FrameBuffer.close])
async def test_a_waiting_reader_gets_the_end(end: Callable[[FrameBuffer], None]) -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)
    waiting = asyncio.create_task(buffer.get_many(8, min_frames=8))
    buffer.put(make_frame(0))
    await asyncio.sleep(0)
    threading.Thread(target=end, args=(buffer,)).start()
    assert len(await waiting) == (1 if end is FrameBuffer.finish else 0)


async def test_error_comes_after_the_frames_before_it_and_once() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)
    put_all(buffer, 3, error=DecodeError("cut"))
    assert len(await buffer.get_many(10)) == 3
    with pytest.raises(DecodeError, match="cut"):
        await buffer.get_many(10)
    assert await buffer.get_many(10) == []


async def test_waiting_consumer_gets_the_error() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)
    waiting = asyncio.create_task(buffer.get_many(1))
    await asyncio.sleep(0)
    threading.Thread(target=buffer.finish, args=(DecodeError("gone"),)).start()
    with pytest.raises(DecodeError, match="gone"):
        await waiting


def test_close_wakes_a_blocked_put() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT, max_frames=1)
    results: list[bool] = []

    def put_two() -> None:
        for index in range(2):
            results.append(buffer.put(make_frame(index)))

    thread = threading.Thread(target=put_two, daemon=True)
    thread.start()
    assert wait_until(lambda: results == [True])
    buffer.close()
    thread.join(timeout=5)
    assert results == [True, False]
    assert len(buffer) == 0
    assert not buffer.put(make_frame(2))


async def test_close_ends_a_waiting_consumer() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)
    waiting = asyncio.create_task(buffer.get_many(1))
    await asyncio.sleep(0)
    buffer.close()
    buffer.close()
    assert await waiting == []


async def test_cancelled_get_loses_no_frame() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)
    waiting = asyncio.create_task(buffer.get_many(1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.to_thread(put_all, buffer, 2)
    assert await take_all(buffer) == [0, 1]


async def test_second_consumer_is_a_mistake() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)
    waiting = asyncio.create_task(buffer.get_many(1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await buffer.get_many(1)
    buffer.close()
    await waiting


def test_put_after_the_loop_is_gone() -> None:
    buffer = FrameBuffer(policy=OverflowPolicy.WAIT)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(buffer.get_many(1), timeout=0.01)

    asyncio.run(give_up())
    assert buffer.put(make_frame(0))


@pytest.mark.parametrize("size", [0, -1])
async def test_rejects_no_room(size: int) -> None:
    with pytest.raises(ValueError):
        FrameBuffer(policy=OverflowPolicy.WAIT, max_frames=size)
    with pytest.raises(ValueError):
        await FrameBuffer(policy=OverflowPolicy.WAIT).get_many(size)
