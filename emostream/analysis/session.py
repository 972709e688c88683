"""Frames that the program has, one by one, through the pipeline of a stream: `emostream.Session`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import math
import numbers
import threading
import time
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from emostream.analysis.analyzer import Analyzer, Config, analyzer_for
from emostream.analysis.faces import array_of
from emostream.analysis.run import sinks_of
from emostream.decode.array_source import ColourOrder, check_colour_order, luma_from_array
from emostream.decode.pushed_source import PushedSource
from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import ConfigError, EmostreamError
from emostream.pipeline.build import build_pipeline, new_epoch
from emostream.publish.loop_thread import call_before_exit
from emostream.publish.registry import urls_of
from emostream.publish.sink_group import SinkGroup
from emostream.telemetry.logs import STREAM_ID

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_SECONDS = 1e10  # in three centuries by the Unix clock; what is beyond is another unit
_MIN_STEP_SECONDS = 0.001  # between frames whose times are read from the clock


class Session:
    """Follows the faces in frames that the program has: from a webcam, a game, a robot, a page.

        with emostream.Session() as session:
            for frame in camera:
                event = session.push(frame)
                print([face.dominant for face in event.faces])

    A session is one stream: its faces keep their track ids, and their probabilities are smoothed over time. Persons are
    told apart, events published and models chosen as the settings say of live streams; no frame is dropped. Several
    sessions with the same settings share their models, which are loaded with the first frame. Thread-safe: frames that
    several threads push are taken one after the other. All work runs in threads of emostream, so it also works where an
    event loop is running, as in a notebook; there `await push_async` keeps the loop free.

    Args:
        config: settings, a mapping of some, a YAML file, or an `Analyzer` whose models and settings it uses; None takes
            those of the environment and the defaults.
        stream_id: what events call the stream.
        order: of the colours of arrays: "rgb", or "bgr" as OpenCV has them.

    Raises:
        ConfigError: a setting is unknown or does not fit, or the stream id is not usable.
        SourceRejectedError: there is no such order.
    """

    def __init__(
        self,
        config: Config | Analyzer = None,
        *,
        stream_id: str = "session",
        order: ColourOrder = "rgb",
    ) -> None:
        check_colour_order(order)
        analyzer = config if isinstance(config, Analyzer) else analyzer_for(config)
        self._max_pixels = analyzer.settings.decode.max_frame_pixels
        self._order = order
        self._stream_id = stream_id
        self._analyzer = analyzer
        self._run = _Run(analyzer, StreamSpec(stream_id, "session:", StreamKind.LIVE))
        self._lock = threading.Lock()
        self._indexes = itertools.count()
        self._last_seconds: float | None = None
        self._pushed_at = 0.0
        self._is_closed = False
        self._end = weakref.finalize(self, self._run.source.close)  # one that is forgotten must not keep its threads
        self._end.atexit = False  # that would be too late
        _close_before_exit(self._run.source)

    def push(self, array: npt.NDArray[Any] | Image, *, at: float | None = None) -> EmotionEvent:
        """Process a frame and wait for its event. The first call also loads the models.

        Args:
            array: NumPy array of uint8, gray H×W or colour H×W×3 (a fourth value, opacity, is left out), or a Pillow
                image. It is not kept, and may be used again when this returns. A frame of another size than the last
                one ends all tracks.
            at: when it was taken, in seconds on any clock from 0 on, after the frame before it; it is the
                `pts_seconds` of the event. None takes it from the clock of this machine: 0 for the first frame.

        Returns:
            The event of this frame, with the faces in it.

        Raises:
            ConfigError: it is no array or image, the time is no time after that of the last frame, or the session is
                closed.
            SourceRejectedError: an array of another shape or dtype, or more pixels than `decode.max_frame_pixels`.
                The session goes on after both errors.
            ModelError: a model is missing or could not compute.
            PublishError: the event could not be delivered to a sink that the settings name.
        """
        pushing = self._begin(array, at)
        try:
            return pushing.result()
        except concurrent.futures.CancelledError:
            raise _ended() from None

    async def push_async(self, array: npt.NDArray[Any] | Image, *, at: float | None = None) -> EmotionEvent:
        """As `push`, without blocking the event loop. Several calls at once are processed in the order of the calls."""
        pushing = self._begin(array, at)
        try:
            return await asyncio.wrap_future(pushing)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _ended() from None

    def close(self) -> None:
        """End the stream, when the frames that were pushed are processed. May be called again.

        Raises:
            PublishError: the last status, or a summary, could not be delivered to a sink that the settings name.
        """
        with self._lock:
            self._is_closed = True
            has_begun = self._end.detach() is not None and self._last_seconds is not None
        if has_begun:
            with contextlib.suppress(concurrent.futures.CancelledError):  # the analyzer is closed
                self._analyzer.submit(self._run.close()).result()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        seconds = "no frame yet" if self._last_seconds is None else f"at {self._last_seconds:.3f}s"
        return f"Session({self._stream_id!r}, {'closed' if self._is_closed else seconds})"

    def _begin(self, array: npt.NDArray[Any] | Image, at: float | None) -> concurrent.futures.Future[EmotionEvent]:
        """Check a frame and queue it. Runs in the caller's thread; frames are numbered in the order of the calls."""
        picture = array_of(array)
        order = self._order if picture is array else "rgb"
        luma = luma_from_array(picture, order=order, max_pixels=self._max_pixels)
        with self._lock:
            if self._is_closed:
                raise ConfigError("this Session is closed: make a new one")
            pts_seconds = self._time_of(at)  # may raise
            frame = Frame(
                stream_id=self._stream_id,
                frame_index=next(self._indexes),
                pts_seconds=pts_seconds,
                captured_at=datetime.now(UTC),
                luma=luma,
            )
            return self._analyzer.submit(self._run.push(frame))

    def _time_of(self, at: float | None) -> float:
        """The time of the next frame. Raises `ConfigError`."""
        now_seconds, last = time.monotonic(), self._last_seconds
        if at is None:
            at_seconds = 0.0 if last is None else last + max(_MIN_STEP_SECONDS, now_seconds - self._pushed_at)
        else:
            at_seconds = _checked_seconds(at)
            if last is not None and at_seconds <= last:
                raise ConfigError(
                    f"expected a time after that of the last frame ({last:g} s), got {at_seconds:g} s; a Session for "
                    "each video begins anew"
                )
        self._last_seconds, self._pushed_at = at_seconds, now_seconds
        return at_seconds


class _Run:
    """The pipeline of a session, in the loop of its analyzer. The methods are called there."""

    def __init__(self, analyzer: Analyzer, spec: StreamSpec) -> None:
        self.source = PushedSource()
        self._analyzer = analyzer
        self._spec = spec
        self._turn = asyncio.Lock()  # the first who waits is the first to come
        self._task: asyncio.Task[None] | None = None
        self._is_told = False  # why it ended
        self._events: dict[int, asyncio.Future[EmotionEvent]] = {}

    async def push(self, frame: Frame) -> EmotionEvent:
        """Give a frame to the pipeline and wait for its event; then the next one has its turn."""
        async with self._turn:
            if self._task is None:
                self._task = asyncio.create_task(self._run())
            answer: asyncio.Future[EmotionEvent] = asyncio.get_running_loop().create_future()
            self._events[frame.frame_index] = answer
            try:
                if not self._task.done():
                    self.source.put(frame)
                    either: set[asyncio.Future[Any]] = {answer, self._task}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if answer.done():
                    return answer.result()
            finally:
                del self._events[frame.frame_index]
            self._is_told = True
            self._task.result()  # raises why it ended
            raise _ended()

    async def close(self) -> None:
        """End the pipeline after what was pushed. Raises what it ended with, unless `push` has done so."""
        async with self._turn:
            self.source.close()
            if self._task is not None:
                await asyncio.wait({self._task})
                if not self._is_told:
                    self._task.result()

    async def _run(self) -> None:
        STREAM_ID.set(self._spec.stream_id)
        settings = self._analyzer.settings
        opened = sinks_of(settings.publish, urls=urls_of(settings.publish), kind_of=lambda stream_id: StreamKind.LIVE)
        async with SinkGroup(opened) as sinks:
            await sinks.check()
            models = await asyncio.to_thread(self._analyzer.loaded)
            sink = _AnsweringSink(sinks, waiting=self._events)
            pipeline = build_pipeline(
                self._spec, settings=settings, models=models, sink=sink, epoch=new_epoch(), source=self.source
            )
            await pipeline.run()


class _AnsweringSink:
    """Delivers events to the sinks of the settings, and then to the calls that wait for them."""

    def __init__(self, sinks: SinkGroup, *, waiting: dict[int, asyncio.Future[EmotionEvent]]) -> None:
        self._sinks = sinks
        self._waiting = waiting

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver and answer. A call that was cancelled does not wait any more."""
        await self._sinks.publish(events)
        for event in events:
            answer = self._waiting.get(event.frame_index)
            if answer is not None and not answer.done():
                answer.set_result(event)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver; an error is raised by `push`."""
        await self._sinks.publish_status(event)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver."""
        await self._sinks.publish_summary(event)

    async def close(self) -> None:
        """The sinks are closed by those who opened them."""


_open_sources: weakref.WeakSet[PushedSource] = weakref.WeakSet()
_registering = threading.Lock()
_is_registered = False


def _close_before_exit(source: PushedSource) -> None:
    """A program that ends without closing its sessions must not wait for their threads."""
    global _is_registered  # noqa: PLW0603  # once per process
    with _registering:
        _open_sources.add(source)
        if not _is_registered:
            call_before_exit(_close_open_sources)
            _is_registered = True


def _close_open_sources() -> None:
    for source in list(_open_sources):
        source.close()


def _checked_seconds(at: object) -> float:
    if isinstance(at, bool | np.bool_) or not isinstance(at, numbers.Real):
        raise ConfigError(f"expected a time in seconds, got {type(at).__name__}")
    seconds = float(at)
    if not math.isfinite(seconds) or not 0 <= seconds <= _MAX_SECONDS:
        raise ConfigError(f"expected a time in seconds, from 0 on, got {seconds:g}")
    return seconds


def _ended() -> EmostreamError:
    return EmostreamError("the session has ended: its Analyzer was closed while it ran")
