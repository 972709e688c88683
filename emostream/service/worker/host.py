"""Runs many streams in one event loop, isolated from one another's failures."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from emostream.decode.live_source import LiveSource, StateObserver
from emostream.decode.resuming import ResumePoint
from emostream.decode.source import FrameSource, SourceInfo
from emostream.domain.clock import utc_now
from emostream.domain.event import StatusEvent
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.redact import redact
from emostream.domain.stream import PUSHED, StreamKind, StreamSpec, StreamState
from emostream.domain.tuning import Tuning
from emostream.errors import EmostreamError, EventRejectedError
from emostream.pipeline.pipeline import Pipeline
from emostream.publish.sink import EventSink
from emostream.service.registry.records import StreamRecord, StreamReport
from emostream.service.verdicts import Verdict, verdict_of
from emostream.service.worker.controllable_source import ControllableSource
from emostream.service.worker.preview_tap import PreviewTap, SendPreview
from emostream.service.worker.stream_stats import StreamStats, StreamStatsSink
from emostream.telemetry.logs import STREAM_ID
from emostream.wire.preview import PreviewKind, preview_channel

logger = logging.getLogger(__name__)


OnFirstPicture = Callable[[str], Coroutine[Any, Any, None]]
"""Awaited with the stream id."""

BLOCKED_SECONDS = 60.0
"""A call into a file that returns nothing for this long is left behind; sources over the network have time-outs."""

_FIRST_PICTURE_SECONDS = 2.0  # an unavailable registry must not delay the frames for longer


class StreamFactory(Protocol):
    """Creates sources and pipelines of streams, with the models that they share."""

    def source(self, spec: StreamSpec, *, on_state: StateObserver, has_worked: bool) -> FrameSource:
        """Create a source of all frames that is not open yet. A live one reconnects by itself and reports its states.

        Args:
            spec: the stream.
            on_state: called with the states of a live source.
            has_worked: whether it was open before, here or elsewhere; then a live source reconnects after any error.
        """
        ...

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """Create the pipeline of one run."""
        ...

    def detect(self, luma: Luma) -> list[Face]:
        """All faces of a picture, without the filters of a stream's tuning. Blocks; called in threads."""
        ...


@dataclass(frozen=True, slots=True)
class TunablePipeline:
    """A pipeline, and a function that changes its tuning while it runs."""

    pipeline: Pipeline
    tune: Callable[[Tuning], None] = lambda tuning: None


class StopReason(Enum):
    """Why a stream is stopped."""

    REMOVED = "the stream was deleted"
    MOVED = "the stream is moved to another worker"
    CHANGED = "the stream restarts with its new settings"
    LOST = "another worker owns the stream"

    @property
    def state(self) -> StreamState | None:
        """The state to publish; None when the new owner publishes it."""
        if self is StopReason.LOST:
            return None
        return StreamState.ENDED if self is StopReason.REMOVED else StreamState.PENDING


class Outcome(Enum):
    """How a run ended on its own."""

    ENDED = "ended"
    FAILED = "failed"
    """It cannot succeed on any worker."""
    RETRY = "retry"
    """It may succeed here when restarted with a new epoch."""
    GIVE_BACK = "give back"
    """It cannot run on this worker, or not now; another worker may run it."""
    DEPOSED = "deposed"
    """A newer run publishes this stream."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended on its own.

    Attributes:
        outcome: what to do with the stream.
        report: the last report.
        verdict: why the stream could not run, as far as it is the stream's fault.
        is_own_trouble: whether it is the fault of this worker: its engine, memory, descriptors or mounts.
    """

    outcome: Outcome
    report: StreamReport
    verdict: Verdict | None = None
    is_own_trouble: bool = False


@dataclass(slots=True, eq=False)
class _RunningStream:
    record: StreamRecord
    epoch: int
    has_worked: bool
    tap: PreviewTap
    meter: StreamStats = field(default_factory=StreamStats)
    state: StreamState = StreamState.CONNECTING
    detail: str = "its worker is opening the source"
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    is_stopping: bool = False
    last_error: str = ""
    controls: ControllableSource | None = None
    source: FrameSource | None = None
    tune: Callable[[Tuning], None] = lambda tuning: None
    pipeline: Pipeline | None = None
    task: asyncio.Task[None] | None = None
    statuses: asyncio.Queue[StatusEvent] = field(default_factory=asyncio.Queue)
    is_blocked: bool = False
    reading: tuple[int, int] | None = None
    reading_since_seconds: float = 0.0


async def _send_nowhere(channel: str, message: bytes) -> None:
    """Discard previews."""


class StreamHost:
    """Runs the streams of one worker. All methods must be called on one event loop.

    Args:
        parts: creates sources and pipelines.
        sink: shared by all streams; not closed.
        worker_id: named in reports.
        send_preview: sends previews; by default they are discarded.
        blocked_seconds: a call into a file that returns nothing for this long is left behind.
        now: wall clock, aware UTC.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        parts: StreamFactory,
        *,
        sink: EventSink,
        worker_id: str,
        send_preview: SendPreview = _send_nowhere,
        blocked_seconds: float = BLOCKED_SECONDS,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = parts
        self._sink = sink
        self._worker_id = worker_id
        self._send_preview = send_preview
        self._blocked_seconds = blocked_seconds
        self._ending: set[asyncio.Task[None]] = set()
        self._now = now
        self._clock = clock
        self._streams: dict[str, _RunningStream] = {}

    @property
    def held(self) -> dict[str, int]:
        """Stream id → epoch, in order of their start, including those that are being stopped."""
        return {stream_id: running.epoch for stream_id, running in self._streams.items()}

    def kind_of(self, stream_id: str) -> StreamKind:
        """Live or file. Streams that do not run here count as live: their owner publishes again what a file needs."""
        running = self._streams.get(stream_id)
        return StreamKind.LIVE if running is None else running.record.spec.kind

    def record_of(self, stream_id: str) -> StreamRecord:
        """The record with which a stream was started or last adjusted."""
        return self._streams[stream_id].record

    def awaits_sender(self, stream_id: str) -> bool:
        """Whether the video of this stream is sent to it, and it runs here."""
        running = self._streams.get(stream_id)
        return running is not None and not running.is_stopping and running.record.spec.url == PUSHED

    def start(
        self,
        record: StreamRecord,
        *,
        epoch: int,
        after: ResumePoint | None = None,
        has_worked: bool = False,
        on_first_picture: OnFirstPicture | None = None,
    ) -> None:
        """Start a stream that does not run here.

        Args:
            record: the wanted stream.
            epoch: its fencing token.
            after: the last frame of a file that was published already.
            has_worked: whether its source was open in an earlier run.
            on_first_picture: awaited when the first frame is decoded, before it is processed; for at most 2 s.
        """
        stream_id = record.stream_id
        if stream_id in self._streams:
            raise ValueError(f"stream {stream_id} is already running")
        tap = PreviewTap(stream_id, send=self._send_preview, detect=self._parts.detect, clock=self._clock)
        running = _RunningStream(record, epoch, has_worked, tap)
        loop = asyncio.get_running_loop()

        def on_state(state: StreamState, detail: str) -> None:  # called in the decoding thread
            loop.call_soon_threadsafe(self._state_changed, running, state, detail)

        running.source = self._parts.source(record.spec, on_state=on_state, has_worked=has_worked)
        running.controls = ControllableSource(
            running.source,
            spec=record.spec,
            is_paused=record.is_paused,
            after=after,
            on_frame=running.tap.offer,
            on_first=_waiting_for(on_first_picture, stream_id, loop=loop),
        )
        sink = StreamStatsSink(
            self._sink,
            meter=running.meter,
            on_status=lambda event: _note(running, event.state, event.detail),
            on_published=running.tap.published,
            now=self._now,
            clock=self._clock,
        )
        made = self._parts.pipeline(record, epoch=epoch, source=running.controls, sink=sink)
        running.tune, running.pipeline = made.tune, made.pipeline
        self._streams[stream_id] = running
        running.task = asyncio.create_task(self._run(running, made.pipeline), name=f"stream {stream_id}")

    def adjust(self, record: StreamRecord) -> bool:
        """Change a running stream in place. Returns False when it must be restarted (another source or zones, …)."""
        running = self._streams[record.stream_id]
        if _what_needs_a_restart(running.record) != _what_needs_a_restart(record):
            return False
        info = None if running.source is None else _info_of(running.source)
        if info is not None and info.is_polled and record.spec.target_fps != running.record.spec.target_fps:
            return False
        if running.controls is not None:
            running.controls.adjust(record.spec, is_paused=record.is_paused)
        running.tune(record.tuning)
        if running.pipeline is not None and record.spec.kind is StreamKind.LIVE:
            running.pipeline.max_frames = record.spec.max_frames
        running.record = record
        return True

    def show_previews(self, channels: frozenset[str]) -> None:
        """Make previews for these channels only, until the next call."""
        for stream_id, running in self._streams.items():
            running.tap.kinds = frozenset(kind for kind in PreviewKind if preview_channel(stream_id, kind) in channels)

    async def stop(self, stream_id: str, reason: StopReason) -> None:
        """Stop a stream and wait for its end; does nothing when it does not run or is already being stopped."""
        running = self._streams.get(stream_id)
        if running is None or running.task is None or running.is_stopping:
            return
        running.is_stopping = True
        has_ended = running.outcome is not None
        running.task.cancel()
        await asyncio.wait([running.task])
        self._streams.pop(stream_id, None)
        if reason.state is not None and not has_ended:
            await self._tell(self._status(running, reason.state, reason.value))

    async def tell(self, report: StreamReport, *, stream_id: str) -> None:
        """Publish a report's state as a status event."""
        await self._tell(
            StatusEvent(
                stream_id=stream_id,
                epoch=report.epoch,
                state=report.state,
                at=self._now(),
                detail=report.detail,
                num_events=report.num_frames,
            )
        )

    def end_blocked(self) -> None:
        """End files of which a call does not return. Live sources leave such calls behind by themselves."""
        now_seconds = self._clock()
        for stream_id, running in self._streams.items():
            is_file = running.record.spec.kind is StreamKind.FILE
            if not is_file or running.controls is None or running.task is None or running.outcome is not None:
                continue
            reading, before = running.controls.reading, running.reading
            if reading is None or reading != before:
                running.reading, running.reading_since_seconds = reading, now_seconds
            elif now_seconds - running.reading_since_seconds > self._blocked_seconds and not running.is_stopping:
                detail = f"its file returned nothing for {self._blocked_seconds:g} s; is its file server away?"
                logger.warning("stream %s: %s", stream_id, detail)
                running.is_blocked = True
                running.detail = running.last_error = detail
                running.outcome, running.state = Outcome.GIVE_BACK, StreamState.PENDING
                running.verdict = Verdict.NOT_HERE
                running.task.cancel()
                self._ending.add(running.task)  # the event loop keeps no reference
                running.task.add_done_callback(self._ending.discard)

    def take_ended(self) -> dict[str, Ended]:
        """Remove and return the streams that ended on their own since the last call."""
        ended = {
            stream_id: Ended(
                running.outcome,
                self._report(running),
                running.verdict,
                is_own_trouble=running.is_blocked or (running.outcome is Outcome.GIVE_BACK and running.verdict is None),
            )
            for stream_id, running in self._streams.items()
            if running.outcome is not None and not running.is_stopping
        }
        for stream_id in ended:
            del self._streams[stream_id]
        return ended

    def reports(self) -> dict[str, StreamReport]:
        """The current report of each running stream."""
        return {stream_id: self._report(running) for stream_id, running in self._streams.items()}

    async def stop_all(self, reason: StopReason) -> None:
        """Stop all streams at once."""
        async with asyncio.TaskGroup() as stopping:
            for stream_id in list(self._streams):
                stopping.create_task(self.stop(stream_id, reason))

    async def _run(self, running: _RunningStream, pipeline: Pipeline) -> None:
        stream_id = running.record.stream_id
        STREAM_ID.set(stream_id)  # for this task and the tasks that it starts
        telling = asyncio.create_task(self._tell_all(running))
        try:
            await pipeline.run()
            running.outcome, running.state, running.detail = Outcome.ENDED, StreamState.ENDED, "the source has ended"
        except EventRejectedError as exc:
            logger.warning("stream %s: %s", stream_id, exc, extra=_trace_of(exc))
            running.outcome = Outcome.DEPOSED
        except EmostreamError as exc:
            logger.warning("stream %s: %s", stream_id, exc, extra=_trace_of(exc))
            self._failed(running, exc, redact(str(exc)))
        except Exception as exc:  # a bug must not affect other streams
            logger.exception("stream %s: internal error", stream_id)
            self._failed(running, exc, f"internal error: {type(exc).__name__}: {redact(str(exc))}")
        finally:
            running.tap.close()
            telling.cancel()
            await asyncio.wait([telling])

    def _failed(self, running: _RunningStream, exc: Exception, detail: str) -> None:
        running.detail = running.last_error = detail
        running.verdict = verdict_of(exc)
        if running.verdict is Verdict.REFUSED and running.source is not None and _info_of(running.source) is not None:
            running.verdict = Verdict.DAMAGED
        if isinstance(exc, EmostreamError) and exc.retryable:
            running.outcome, running.state = Outcome.RETRY, StreamState.RECONNECTING
        else:
            running.outcome, running.state = Outcome.GIVE_BACK, StreamState.PENDING

    def _state_changed(self, running: _RunningStream, state: StreamState, detail: str) -> None:
        # Something to know of a stream that runs already is news as well.
        is_news = state is not running.state or (state is StreamState.RUNNING and redact(detail) != running.detail)
        _note(running, state, detail)
        if is_news:
            running.statuses.put_nowait(self._status(running, state, running.detail))

    async def _tell_all(self, running: _RunningStream) -> None:
        while True:
            await self._tell(await running.statuses.get())

    async def _tell(self, event: StatusEvent) -> None:
        try:
            await self._sink.publish_status(event)
        except EmostreamError as exc:  # the report in the registry has the same state
            logger.warning("cannot publish status %s of stream %s: %s", event.state, event.stream_id, exc)

    def _status(self, running: _RunningStream, state: StreamState, detail: str) -> StatusEvent:
        return StatusEvent(
            stream_id=running.record.stream_id,
            epoch=running.epoch,
            state=state,
            at=self._now(),
            detail=detail,
            num_events=running.meter.num_frames,
        )

    def _report(self, running: _RunningStream) -> StreamReport:
        meter, now_seconds = running.meter, self._clock()
        live_stats = running.source.live_stats if isinstance(running.source, LiveSource) else None
        latency_ms, lag_ms = meter.latency_ms(now_seconds=now_seconds), meter.lag_ms(now=self._now())
        info = None if running.source is None else _info_of(running.source)
        stats = None if running.source is None else running.source.stats
        delay_seconds = None if stats is None else stats.source_delay_seconds
        return StreamReport(
            state=running.state,
            detail=running.detail,
            worker_id=self._worker_id,
            epoch=running.epoch,
            at_ms=round(self._now().timestamp() * 1000),
            num_frames=meter.num_frames,
            num_faces=meter.num_faces,
            last_index=meter.last_index,
            num_dropped=meter.num_dropped,
            num_reconnects=live_stats.num_reconnects if live_stats else 0,
            num_corrupt=stats.num_corrupt if stats else 0,
            measured_fps=round(meter.measured_fps(now_seconds=now_seconds), 2),
            latency_ms=None if latency_ms is None else round(latency_ms, 1),
            lag_ms=None if lag_ms is None else round(lag_ms, 1),
            source_delay_ms=None if delay_seconds is None else round(1000 * delay_seconds, 1),
            last_error=running.last_error,
            has_worked=running.has_worked or meter.num_frames > 0,  # not at its opening: a first picture may crash
            decoder=info.decoder if info else "",
            width=info.width if info else 0,
            height=info.height if info else 0,
        )


def _note(running: _RunningStream, state: StreamState, detail: str) -> None:
    running.state, running.detail = state, redact(detail)
    if state in (StreamState.RECONNECTING, StreamState.FAILED):
        running.last_error = running.detail


def _waiting_for(
    on_first_picture: OnFirstPicture | None, stream_id: str, *, loop: asyncio.AbstractEventLoop
) -> Callable[[], None]:
    """A function for the decoding thread that runs a coroutine on the event loop and waits for it."""

    def wait() -> None:
        if on_first_picture is None or loop.is_closed():
            return
        doing = asyncio.run_coroutine_threadsafe(on_first_picture(stream_id), loop)
        try:
            doing.result(timeout=_FIRST_PICTURE_SECONDS)
        except (EmostreamError, TimeoutError, CancelledError) as exc:
            logger.info("stream %s: cannot note its first frame yet: %s", stream_id, exc)

    return wait


def _trace_of(error: EmostreamError) -> dict[str, str]:
    """The trace that ended with this error, for the log."""
    return {"trace_id": error.trace_id}


def _info_of(source: FrameSource) -> SourceInfo | None:
    try:
        return source.info
    except RuntimeError:  # not open yet
        return None


def _what_needs_a_restart(record: StreamRecord) -> tuple[object, ...]:
    spec = record.spec
    return spec.url, spec.kind, spec.zones, spec.pixel_aspect, record.created_epoch
