"""Pictures that are decoded elsewhere in this process, because they are sent to it, as a source."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from av.video.reformatter import VideoReformatter

from emostream.decode.pixels import Picture, PictureReader, Pixels
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.decode.timeline import LiveTimeline
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind
from emostream.errors import SourceError, SourceTimeoutError, SourceUnavailableError

_MAX_WAITING = 2  # between two threads only; the buffer that absorbs jitter comes after
_MAX_GAP_SECONDS = 10.0  # as of other live sources
_LOOK_SECONDS = 0.2  # how long a source that was closed may wait for a sender


@dataclass(frozen=True, slots=True, eq=False)
class HandedPicture:
    """A decoded picture.

    Attributes:
        picture: as PyAV has it, or its pixels.
        stamp_seconds: its time as the sender says, from any zero; None when it says nothing.
        arrived_seconds: monotonic time at which it was decoded.
        captured_at: the same, UTC.
        sent_at: when it was taken by the sender's own clock; None where that is not known.
    """

    picture: Picture | Pixels
    stamp_seconds: float | None
    arrived_seconds: float
    captured_at: datetime
    sent_at: datetime | None = None


class PictureQueue:
    """Pictures of one sender, from the loop in which they come to the thread that reads them. Thread-safe.

    The newest picture wins: where the reader is late, older ones are left out and counted.

    Args:
        codec: what was decoded.
        on_left: called once, in any thread, when the reader wants no more.
        clock: monotonic seconds.
    """

    def __init__(self, *, codec: str, on_left: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.codec = codec
        self.begun_seconds = clock()
        self.num_left_out = 0
        self.num_lost = 0
        """Packets that never came, as far as the sender's numbers tell; set by who puts pictures in."""
        self._on_left = on_left
        self._clock = clock
        self._changed = threading.Condition()
        self._pictures: deque[HandedPicture] = deque()
        self._error: SourceError | None = None
        self._is_left = False

    def put(
        self,
        picture: Picture | Pixels,
        *,
        stamp_seconds: float | None,
        captured_at: datetime | None = None,
        sent_at: datetime | None = None,
    ) -> None:
        """Hand over the next picture; does not block. Arguments are as in `HandedPicture`; None captures it now."""
        captured_at = captured_at or datetime.now(UTC)
        handed = HandedPicture(picture, stamp_seconds, self._clock(), captured_at, sent_at)
        with self._changed:
            if self._error is None and not self._is_left:
                self._pictures.append(handed)
                while len(self._pictures) > _MAX_WAITING:
                    self._pictures.popleft()
                    self.num_left_out += 1
                self._changed.notify_all()

    def finish(self, error: SourceError) -> None:
        """No picture follows: the reader gets this error after what waits. The first one counts."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def leave(self) -> None:
        """The reader wants no more. Safe to call twice and from any thread."""
        with self._changed:
            is_first, self._is_left = not self._is_left, True
            self._pictures.clear()
            self._changed.notify_all()
        if is_first:
            self._on_left()

    def take(self, *, timeout_seconds: float | None = None) -> HandedPicture | None:
        """The next picture; None when the reader has left.

        Raises:
            SourceError: the sender has ended, or sent nothing in time.
        """
        with self._changed:
            is_in_time = self._changed.wait_for(
                lambda: self._pictures or self._error is not None or self._is_left, timeout=timeout_seconds
            )
            if self._is_left:
                return None
            if self._pictures:
                return self._pictures.popleft()
            if not is_in_time or self._error is None:
                raise SourceTimeoutError(f"the sender has sent no picture within {timeout_seconds:g} s")
            raise self._error


class HandedPictureSource:
    """A `FrameSource` of the pictures of the next sender; it ends with an error that is retryable when the sender does.

    Args:
        next_sender: waits for a sender, at most for the given seconds; None when none came.
        stream_id: of the frames.
        open_timeout_seconds: how long to wait for a sender, and for its first picture.
    """

    def __init__(
        self,
        next_sender: Callable[[float], PictureQueue | None],
        *,
        stream_id: str,
        open_timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._next_sender = next_sender
        self._stream_id = stream_id
        self._open_timeout_seconds = open_timeout_seconds
        self._clock = clock
        self._closed = threading.Event()
        self._queue: PictureQueue | None = None
        self._first: HandedPicture | None = None
        self._info: SourceInfo | None = None
        self._stats = DecodeStats()
        self._reader = PictureReader(VideoReformatter)

    @property
    def kind(self) -> StreamKind:
        """Live."""
        return StreamKind.LIVE

    @property
    def info(self) -> SourceInfo:
        """As of the first picture."""
        if self._info is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        return self._info

    @property
    def stats(self) -> DecodeStats:
        """Counters so far; packets that never came, and pictures left out here, count as corrupt."""
        if (queue := self._queue) is not None:
            self._stats.num_corrupt = queue.num_lost + queue.num_left_out
        return self._stats

    def __enter__(self) -> Self:
        """Wait for a sender and its first picture.

        Raises:
            SourceTimeoutError: none came in time.
            SourceUnavailableError: it was closed, or the sender ended before its first picture.
        """
        ends_at = self._clock() + self._open_timeout_seconds
        while self._queue is None and not self._closed.is_set():
            left = ends_at - self._clock()
            if left <= 0:
                raise SourceTimeoutError("nothing is sent to this stream now; it waits for a sender")
            self._queue = self._next_sender(min(left, _LOOK_SECONDS))
        if self._queue is not None and self._closed.is_set():
            self._queue.leave()
        first = None if self._queue is None else self._queue.take(timeout_seconds=self._open_timeout_seconds)
        if self._queue is None or first is None:
            raise SourceUnavailableError("the source was closed before anything was sent to it")
        self._first = first
        codec = self._queue.codec
        width, height = _size_of(first.picture)
        self._info = SourceInfo(width, height, codec=codec, decoder=codec)
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Yield pictures as they come."""
        queue, handed = self._queue, self._first
        if queue is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        timeline = LiveTimeline(declared_fps=None, max_gap_seconds=_MAX_GAP_SECONDS, opened_seconds=queue.begun_seconds)
        index = 0
        while handed is not None:
            self._stats.num_packets += 1
            self._stats.num_decoded += 1
            if handed.sent_at is not None:
                self._stats.source_delay_seconds = (handed.captured_at - handed.sent_at).total_seconds()
            picture = handed.picture
            pixels = picture if isinstance(picture, Pixels) else self._reader.read(picture)
            yield Frame(
                stream_id=self._stream_id,
                frame_index=index,
                pts_seconds=timeline.advance(handed.stamp_seconds, arrived_seconds=handed.arrived_seconds),
                captured_at=handed.captured_at,
                luma=pixels.luma,
                is_full_range=pixels.is_full_range,
                load_rgb=pixels.load_rgb,
            )
            index += 1
            handed = queue.take()

    def close(self) -> None:
        """End the iteration, and tell the sender. Safe to call twice and from any thread."""
        self._closed.set()
        if (queue := self._queue) is not None:
            queue.leave()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _size_of(picture: Picture | Pixels) -> tuple[int, int]:
    if isinstance(picture, Pixels):
        return picture.luma.shape[1], picture.luma.shape[0]
    return picture.width, picture.height
