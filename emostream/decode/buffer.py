"""The bridge from a decode thread to the event loop: a bounded frame buffer (decision D6)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

from emostream.domain.frame import Frame

_DEFAULT_MAX_FRAMES = 8  # a third of a second of video: hides jitter, and keeps few decoder buffers from reuse
_DEFAULT_MAX_PIXELS = 8 * 3840 * 2160  # as many pictures of 4K, which take 100 MB; fewer of larger ones

MAX_WAIT_SECONDS = 0.5
"""A frame of a live source that waited for longer is not worth looking at (decision D6)."""


class OverflowPolicy(Enum):
    """What happens to a frame for which there is no room."""

    WAIT = "wait"
    """The decode thread waits: nothing is lost. For files."""
    DROP_OLDEST = "drop_oldest"
    """The oldest frame is dropped and counted, and so are frames that waited for longer than half a second: latency
    stays bounded. For live sources."""


class FrameBuffer:
    """At most `max_frames` frames, of `max_pixels` together, between one decode thread and one consumer on the event
    loop. A single frame is let in, however large.

    The thread calls `put` for each frame and `finish` once; the consumer awaits `get_many` until it returns nothing, or
    raises the error given to `finish`. Frames put before the end come out before it. `close` may be called from any
    thread, at any time, twice: it drops what waits, and ends both sides.
    """

    def __init__(
        self,
        *,
        policy: OverflowPolicy,
        max_frames: int = _DEFAULT_MAX_FRAMES,
        max_pixels: int = _DEFAULT_MAX_PIXELS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {max_frames}")
        self._policy = policy
        self._max_frames = max_frames
        self._max_pixels = max_pixels
        self._clock = clock
        self._frames: deque[tuple[Frame, float]] = deque()  # with the instant it was put
        self._num_pixels = 0  # in them
        self._lock = threading.Lock()
        self._has_room = threading.Condition(self._lock)
        self._num_waiting_to_put = 0
        self._consumer: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._min_frames = 1  # that the consumer waits for
        self._is_finished = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._num_dropped = 0
        self._wait_seconds = 0.0

    @property
    def wait_seconds(self) -> float:
        """How long the oldest of the frames that were taken last had waited."""
        return self._wait_seconds

    @property
    def num_dropped(self) -> int:
        """Frames dropped so far because the consumer was slow."""
        return self._num_dropped

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> bool:
        """Runs in the decode thread: hand over a frame, waiting for room if the policy says so.

        Returns:
            False when the buffer is closed, so that decoding can stop.
        """
        with self._lock:
            if self._policy is OverflowPolicy.WAIT:
                self._wait_for_room(frame)
            else:
                while not self._has_room_for(frame):
                    self._pop()
                    self._num_dropped += 1
            if self._is_closed:
                return False
            self._frames.append((frame, self._clock()))
            self._num_pixels += frame.luma.size
            consumer = self._consumer_to_wake()
        _wake(consumer)
        return True

    def _wait_for_room(self, frame: Frame) -> None:
        if self._has_room_for(frame):
            return
        self._num_waiting_to_put += 1
        try:
            _wake(self._consumer_to_wake())
            self._has_room.wait_for(lambda: self._has_room_for(frame) or self._is_closed)
        finally:
            self._num_waiting_to_put -= 1

    def _has_room_for(self, frame: Frame) -> bool:
        is_small_enough = self._num_pixels + frame.luma.size <= self._max_pixels
        return not self._frames or (len(self._frames) < self._max_frames and is_small_enough)

    def _is_enough(self, min_frames: int) -> bool:
        """Whether a consumer that waits for `min_frames` can be served."""
        is_all = self._num_waiting_to_put or self._is_finished or self._is_closed
        return len(self._frames) >= min_frames or bool(is_all)

    def _consumer_to_wake(self) -> tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None:
        if not self._is_enough(self._min_frames):
            return None
        consumer, self._consumer = self._consumer, None
        return consumer

    def _pop(self) -> Frame:
        frame, _ = self._frames.popleft()
        self._num_pixels -= frame.luma.size
        return frame

    def finish(self, error: BaseException | None = None) -> None:
        """Runs in the decode thread: no frame follows. The consumer gets what waits, then `error` or the end."""
        with self._lock:
            if self._is_finished:
                return
            self._is_finished = True
            self._error = error
            consumer = self._consumer_to_wake()
        _wake(consumer)

    async def get_many(
        self, max_frames: int, *, max_pixels: int = _DEFAULT_MAX_PIXELS, min_frames: int = 1
    ) -> list[Frame]:
        """Up to `max_frames` frames, the oldest first. Empty means: the end.

        Waits for `min_frames`; for fewer where no more have room, or none follow. One call at a time. Cancelling a call
        loses no frame. Frames after the first are given as long as all of them have `max_pixels` at most.

        Raises:
            BaseException: the error given to `finish`, after all frames before it; once.
        """
        if max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {max_frames}")
        if min_frames > 1 and self._policy is OverflowPolicy.DROP_OLDEST:
            raise ValueError(f"live frames grow old where they wait: min_frames must be 1, got {min_frames}")
        while True:
            with self._lock:
                if self._frames and self._is_enough(min_frames):
                    return self._take(max_frames, max_pixels)
                if self._is_closed:
                    return []
                if self._is_finished:
                    error, self._error = self._error, None
                    if error is not None:
                        raise error
                    return []
                if self._consumer is not None and not self._consumer[1].done():
                    raise RuntimeError("expected one consumer, got a second call of get_many during the first")
                loop = asyncio.get_running_loop()
                arrival = loop.create_future()
                self._consumer, self._min_frames = (loop, arrival), min_frames
            await arrival

    def _take(self, max_frames: int, max_pixels: int) -> list[Frame]:
        now = self._clock()
        if self._policy is OverflowPolicy.DROP_OLDEST:
            while len(self._frames) > 1 and now - self._frames[0][1] > MAX_WAIT_SECONDS:
                self._pop()
                self._num_dropped += 1
        self._wait_seconds = now - self._frames[0][1]
        taken = [self._pop()]
        num_pixels = taken[0].luma.size
        while self._frames and len(taken) < max_frames:
            num_pixels += self._frames[0][0].luma.size
            if num_pixels > max_pixels:
                break
            taken.append(self._pop())
        if self._num_waiting_to_put:
            self._has_room.notify_all()
        return taken

    def close(self) -> None:
        """Drop what waits, let a blocked `put` return and a waiting `get_many` end. Callable from any thread, twice."""
        with self._lock:
            self._is_closed = True
            self._frames.clear()
            self._num_pixels = 0
            self._has_room.notify_all()
            consumer = self._consumer_to_wake()
        _wake(consumer)


def _wake(consumer: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None) -> None:
    if consumer is None:
        return
    loop, arrival = consumer
    with contextlib.suppress(RuntimeError):  # the loop is closed, so no consumer waits
        loop.call_soon_threadsafe(_arrive, arrival)


def _arrive(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
