"""A live source that comes back: reopened after every failure, and left behind when a call into it hangs (decision D6).

A read inside FFmpeg cannot be interrupted from outside. So each opening of the source has a thread of its own, and this
source waits for its frames with a time limit. When the limit passes, the thread is abandoned together with its source:
it holds no lock that others need, it adds no frames, and it ends when FFmpeg returns. Up to
`max_abandoned` of them per stream cost no time; beyond that the source is opened again when one has ended, or after a
pause that doubles from a minute to ten. So a source that always hangs costs few threads and connections, and comes back
all the same. `BLOCKED_CALLS` counts those of all streams, so that a service can replace a process that has too many.

The time line goes on over reconnections: frame indexes continue, and `pts_seconds` grows by the time that passed. So a
reconnection needs no new epoch; consumers see a gap in time, and that is what happened.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from emostream.decode.backoff import Backoff
from emostream.decode.blocked_calls import BLOCKED_CALLS
from emostream.decode.source import DecodeStats, FrameSource, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamState
from emostream.errors import Cause, SourceError, SourceTimeoutError, SourceUnavailableError

_MAX_WAITING_FRAMES = 2  # between two threads only; the buffer that absorbs jitter comes after
_ABANDONED_CHECK_SECONDS = 0.5
_BLOCKED_PAUSE_SECONDS = 60.0
_MAX_BLOCKED_PAUSE_SECONDS = 600.0

StateObserver = Callable[[StreamState, str], None]
"""Called in the decode thread: RECONNECTING with the reason, at each failure; RUNNING when frames came again, or when
there is something to know of a source that runs."""


@dataclass(slots=True)
class LiveStats:
    """Counted while a live source runs.

    Attributes:
        num_reconnects: openings after a failure that succeeded.
        num_failures: openings that failed and connections that broke.
        num_stalls: calls that were left behind because they did not come back.
        num_abandoned: threads left behind that have not ended yet.
    """

    num_reconnects: int = 0
    num_failures: int = 0
    num_stalls: int = 0
    num_abandoned: int = 0


class LiveSource:
    """A `FrameSource` around openings of another one.

    Entering waits for the first opening, however often it takes. Until it succeeded once, an error that is not
    retryable ends the source; afterwards every error is tried again, because a camera that restarts may say odd things
    for a while. It ends by `close`, or when an opening ends without an error.

    Args:
        open_source: makes a source, not opened yet; called for each attempt.
        backoff: pauses between attempts.
        open_stall_seconds: an opening that takes longer is left behind.
        read_stall_seconds: a read that brings nothing at all for longer is left behind.
        on_state: called for each change.
        is_known_good: the source has worked before, so no error of it ends it; one of this process does, until it
            worked here.
        gives_up_unopened: until the source worked once, every error ends it; for a person who waits.
        max_abandoned: with this number of abandoned threads, the source is opened less often.
        blocked_pause_seconds: the first pause then; each one after it is twice as long, up to ten minutes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        open_source: Callable[[], FrameSource],
        *,
        backoff: Backoff,
        open_stall_seconds: float,
        read_stall_seconds: float,
        on_state: StateObserver | None = None,
        is_known_good: bool = False,
        gives_up_unopened: bool = False,
        max_abandoned: int = 3,
        blocked_pause_seconds: float = _BLOCKED_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.live_stats = LiveStats()
        self._open_source = open_source
        self._backoff = backoff
        self._open_stall_seconds = open_stall_seconds
        self._read_stall_seconds = read_stall_seconds
        self._on_state = on_state or (lambda state, detail: None)
        self._is_known_good = is_known_good
        self._gives_up_unopened = gives_up_unopened
        self._max_abandoned = max_abandoned
        self._blocked_pause_seconds = self._next_blocked_pause_seconds = blocked_pause_seconds
        self._clock = clock
        self._closed = threading.Event()
        self._attempt: _Attempt | None = None
        self._stats_lock = threading.Lock()  # an attempt is in the sum or current, never both
        self._abandoned: list[_Attempt] = []
        self._finished_stats = DecodeStats()
        self._info: SourceInfo | None = None
        self._last: tuple[int, float, float] | None = None  # index, pts and arrival of the last frame

    @property
    def kind(self) -> StreamKind:
        """Live."""
        return StreamKind.LIVE

    @property
    def info(self) -> SourceInfo:
        """What the latest opening said."""
        if self._info is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        return self._info

    @property
    def stats(self) -> DecodeStats:
        """Summed over all openings."""
        with self._stats_lock:
            attempt = self._attempt
            return self._finished_stats if attempt is None else _sum(self._finished_stats, attempt.source.stats)

    def __enter__(self) -> Self:
        """Open for the first time.

        Raises:
            SourceError: it can never work as given, or it was closed meanwhile.
        """
        if self._connect() is None:
            raise SourceUnavailableError("the source was closed before it could be opened")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the iteration now; a call that is still blocked ends by itself. Safe to call twice, from any thread."""
        self._closed.set()
        if (attempt := self._attempt) is not None:
            attempt.leave()

    def __iter__(self) -> Iterator[Frame]:
        """Runs in the decode thread, once."""
        attempt = self._attempt
        while attempt is not None:
            started_at: float | None = None
            try:
                offset, num_clock_faults = None, 0
                while (frame := attempt.next_frame(stall_seconds=self._read_stall_seconds)) is not None:
                    now = self._clock()
                    if started_at is None:
                        started_at, offset = now, self._offset_of(frame, now=now)
                    yield self._placed(frame, offset, now=now)
                    if attempt.source.stats.num_clock_faults > num_clock_faults:
                        num_clock_faults = attempt.source.stats.num_clock_faults
                        self._info = attempt.source.info
                        self._on_state(StreamState.RUNNING, self._info.notice)
                return
            except SourceError as exc:
                self._finish(attempt)
                ran_for = 0.0 if started_at is None or self._last is None else self._last[2] - started_at
                self._failed(exc, ran_for_seconds=ran_for)
            attempt = self._connect()
            if attempt is not None:
                self.live_stats.num_reconnects += 1
                self._on_state(StreamState.RUNNING, self.info.notice)

    def _offset_of(self, frame: Frame, *, now: float) -> tuple[int, float] | None:
        """What to add to index and pts so that they continue; None for the first opening."""
        if self._last is None:
            return None
        index, pts_seconds, arrived = self._last
        return index + 1 - frame.frame_index, pts_seconds + max(now - arrived, 0.001) - frame.pts_seconds

    def _placed(self, frame: Frame, offset: tuple[int, float] | None, *, now: float) -> Frame:
        if offset is not None:
            frame = replace(frame, frame_index=frame.frame_index + offset[0], pts_seconds=frame.pts_seconds + offset[1])
        self._last = (frame.frame_index, frame.pts_seconds, now)
        return frame

    def _connect(self) -> _Attempt | None:
        """Open until it works; None when closed. Waits for the next opening only after a failure."""
        while self._may_open():
            attempt = _Attempt(self._open_source(), clock=self._clock)
            self._attempt = attempt
            attempt.start()
            if self._closed.is_set():  # closed before the attempt could be seen
                attempt.leave()
            try:
                if not attempt.wait_until_open(stall_seconds=self._open_stall_seconds):
                    return None
            except SourceError as exc:
                self._finish(attempt)
                if self._is_final(exc):
                    raise
                self._failed(exc, ran_for_seconds=0.0)
            else:
                self._info = attempt.source.info
                self._is_known_good = True
                return attempt
        return None

    def _is_final(self, exc: SourceError) -> bool:
        """Whether an opening that failed ends the source."""
        if exc.cause is Cause.WORKER:  # before it was ever open here: others may be able to open it
            return self._info is None
        return not self._is_known_good and (self._gives_up_unopened or not exc.retryable)

    def _may_open(self) -> bool:
        """Whether to open again, as opposed to closed; waits while too many threads are left behind."""
        pause_seconds = self._next_blocked_pause_seconds
        is_told, ends_at = False, self._clock() + pause_seconds
        while not self._closed.is_set():
            self._abandoned = [attempt for attempt in self._abandoned if attempt.is_alive]
            self.live_stats.num_abandoned = len(self._abandoned)
            if len(self._abandoned) < self._max_abandoned:
                self._next_blocked_pause_seconds = self._blocked_pause_seconds
                return True
            if self._clock() >= ends_at:
                self._next_blocked_pause_seconds = min(2 * pause_seconds, _MAX_BLOCKED_PAUSE_SECONDS)
                return True
            if not is_told:
                is_told = True
                self._on_state(
                    StreamState.RECONNECTING,
                    f"{len(self._abandoned)} calls into the source are blocked; it is opened again when one has ended, "
                    f"at the latest in {pause_seconds:g} s",
                )
            self._closed.wait(min(_ABANDONED_CHECK_SECONDS, pause_seconds))
        return False

    def _failed(self, exc: SourceError, *, ran_for_seconds: float) -> None:
        self.live_stats.num_failures += 1
        delay_seconds = self._backoff.next_delay_seconds(ran_for_seconds=ran_for_seconds)
        if not self._closed.is_set():
            self._on_state(StreamState.RECONNECTING, str(exc))
            self._closed.wait(delay_seconds)

    def _finish(self, attempt: _Attempt) -> None:
        attempt.leave()
        with self._stats_lock:
            self._finished_stats = _sum(self._finished_stats, attempt.source.stats)
            self._attempt = None
        if attempt.is_stalled:
            self.live_stats.num_stalls += 1
            self._abandoned.append(attempt)
            self.live_stats.num_abandoned = len(self._abandoned)


class _Attempt:
    """One opening of a source, in a thread that can be left behind."""

    def __init__(self, source: FrameSource, *, clock: Callable[[], float]) -> None:
        self.source = source
        self.is_stalled = False
        self._clock = clock
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._is_open = False
        self._is_left = False
        self._is_finished = False
        self._error: BaseException | None = None
        # A daemon: a call that never returns must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="emostream-live", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to open."""
        self._thread.start()

    def leave(self) -> None:
        """Take no more from it. Callable from any thread, twice."""
        with self._changed:
            is_first = not self._is_left
            self._is_left = True
            self._frames.clear()
            self._changed.notify_all()
        if is_first and self.is_alive:
            BLOCKED_CALLS.left_behind(self._thread)
        self.source.close()

    def wait_until_open(self, *, stall_seconds: float) -> bool:
        """Whether it is open; False when it was left. Raises the error it ended with, or `SourceTimeoutError`."""
        with self._changed:
            is_done = self._changed.wait_for(
                lambda: self._is_open or self._is_finished or self._is_left, timeout=stall_seconds
            )
            if not is_done:
                self.is_stalled = True
                raise SourceTimeoutError(f"opening the source did not come back within {stall_seconds:g} s")
            if self._is_left:
                return False
            if self._error is not None:
                raise self._error
            return True

    def next_frame(self, *, stall_seconds: float) -> Frame | None:
        """The next frame; None at the end. Raises as `wait_until_open`; packets without pictures are progress."""
        with self._changed:
            num_packets = self.source.stats.num_packets
            while not self._changed.wait_for(
                lambda: bool(self._frames) or self._is_finished or self._is_left, timeout=stall_seconds
            ):
                if self.source.stats.num_packets == num_packets:
                    self.is_stalled = True
                    raise SourceTimeoutError(f"the source sent nothing for {stall_seconds:g} s")
                num_packets = self.source.stats.num_packets
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
            if self._error is not None and not self._is_left:
                raise self._error
            return None

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with self.source as source:
                with self._changed:
                    self._is_open = True
                    self._changed.notify_all()
                for frame in source:
                    if not self._put(frame):
                        return
        except BaseException as exc:  # whatever it is, the waiting thread must learn of it
            error = exc
        finally:
            with self._changed:
                self._error, self._is_finished = error, True
                self._changed.notify_all()

    def _put(self, frame: Frame) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._frames) < _MAX_WAITING_FRAMES or self._is_left)
            if self._is_left:
                return False
            self._frames.append(frame)
            self._changed.notify_all()
            return True


def _sum(one: DecodeStats, other: DecodeStats) -> DecodeStats:
    return DecodeStats(
        num_packets=one.num_packets + other.num_packets,
        num_decoded=one.num_decoded + other.num_decoded,
        num_skipped=one.num_skipped + other.num_skipped,
        num_corrupt=one.num_corrupt + other.num_corrupt,
        num_clock_faults=one.num_clock_faults + other.num_clock_faults,
        decode_seconds=one.decode_seconds + other.decode_seconds,
        source_delay_seconds=other.source_delay_seconds,
    )
