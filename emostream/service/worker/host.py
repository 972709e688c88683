"""Runs many streams in one event loop, each on its own: the failure of one touches no other."""

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
from emostream.decode.source import FrameSource, SourceInfo
from emostream.domain.clock import utc_now
from emostream.domain.event import StatusEvent
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind, StreamSpec, StreamState
from emostream.errors import DecodeError, EmostreamError, EventRejectedError
from emostream.pipeline.pipeline import Pipeline
from emostream.publish.sink import EventSink
from emostream.service.registry.records import StreamRecord, StreamReport, StreamTuning
from emostream.service.verdicts import Verdict, verdict_of
from emostream.service.worker.controllable_source import ControllableSource
from emostream.service.worker.preview_tap import PreviewTap, SendPreview
from emostream.service.worker.stream_stats import StreamStats, StreamStatsSink
from emostream.telemetry.logs import STREAM_ID
from emostream.wire.preview import PreviewKind, preview_channel

logger = logging.getLogger(__name__)


OnFirstPicture = Callable[[str], Coroutine[Any, Any, None]]
"""Awaited with the id of the stream."""

_FIRST_PICTURE_SECONDS = 2.0  # a registry that is away must not hold up the pictures


class StreamFactory(Protocol):
    """Makes the parts of a stream; what they share (models, batcher) is in here."""

    def source(self, spec: StreamSpec, *, on_state: StateObserver, has_worked: bool) -> FrameSource:
        """A source of all frames, not opened yet; a live one reconnects by itself and tells its states.

        A live one that has worked before, here or elsewhere, is tried again whatever goes wrong.
        """
        ...

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """The pipeline of one run."""
        ...

    def detect(self, luma: Luma) -> list[Face]:
        """Every face of a picture, whatever a stream's tuning leaves out; blocks, so it is called in threads."""
        ...


@dataclass(frozen=True, slots=True)
class TunablePipeline:
    """A pipeline, and how to change it while it runs."""

    pipeline: Pipeline
    tune: Callable[[StreamTuning], None] = lambda tuning: None


class StopReason(Enum):
    """Why a stream is stopped from outside."""

    REMOVED = "the stream was removed"
    MOVED = "the stream moves to another worker"
    CHANGED = "the stream starts again with its new settings"
    LOST = "another worker owns the stream"

    @property
    def state(self) -> StreamState | None:
        """What consumers are told; None when that is for the new owner to say."""
        if self is StopReason.LOST:
            return None
        return StreamState.ENDED if self is StopReason.REMOVED else StreamState.PENDING


class Outcome(Enum):
    """How a run ended by itself."""

    ENDED = "ended"
    FAILED = "failed"
    """Nothing more can come of it, wherever it is started."""
    RETRY = "retry"
    """It may work here when it is started again, with a new epoch."""
    GIVE_BACK = "give back"
    """It cannot work here, or not now; another worker may be able to."""
    DEPOSED = "deposed"
    """A newer run publishes this stream."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended by itself.

    Attributes:
        outcome: what to do with the stream.
        report: the last one.
        verdict: why it could not be run, as far as that says something of the stream.
        is_own_trouble: it says something of this worker: its engine, its memory, its descriptors.
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
    detail: str = "its worker opens the source"
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    is_stopping: bool = False
    last_error: str = ""
    controls: ControllableSource | None = None
    source: FrameSource | None = None
    tune: Callable[[StreamTuning], None] = lambda tuning: None
    pipeline: Pipeline | None = None
    task: asyncio.Task[None] | None = None
    statuses: asyncio.Queue[StatusEvent] = field(default_factory=asyncio.Queue)


async def _send_nowhere(channel: str, message: bytes) -> None:
    """For hosts without viewers."""


class StreamHost:
    """The streams of one worker. All methods belong to one event loop.

    Args:
        parts: makes sources and pipelines.
        sink: shared by all streams; not closed here.
        worker_id: named in reports.
        send_preview: delivers previews; by default nobody gets any.
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
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = parts
        self._sink = sink
        self._worker_id = worker_id
        self._send_preview = send_preview
        self._now = now
        self._clock = clock
        self._streams: dict[str, _RunningStream] = {}

    @property
    def held(self) -> dict[str, int]:
        """Epoch by stream id, in the order of their start; those that are being stopped count."""
        return {stream_id: running.epoch for stream_id, running in self._streams.items()}

    def kind_of(self, stream_id: str) -> StreamKind:
        """Live or file; streams that do not run here are live: whoever runs them publishes anew what a file needs."""
        running = self._streams.get(stream_id)
        return StreamKind.LIVE if running is None else running.record.spec.kind

    def record_of(self, stream_id: str) -> StreamRecord:
        """What a stream was started or adjusted with."""
        return self._streams[stream_id].record

    def start(
        self,
        record: StreamRecord,
        *,
        epoch: int,
        after_index: int | None = None,
        has_worked: bool = False,
        on_first_picture: OnFirstPicture | None = None,
    ) -> None:
        """Start a stream that does not run here.

        Args:
            record: what is wanted.
            epoch: its fencing token.
            after_index: frames up to this index of a file are published already.
            has_worked: its source was open in an earlier run.
            on_first_picture: awaited when the first picture is decoded, before it is looked at; for 2 s at most.
        """
        stream_id = record.stream_id
        if stream_id in self._streams:
            raise ValueError(f"expected a stream that does not run yet, got {stream_id}")
        tap = PreviewTap(stream_id, send=self._send_preview, detect=self._parts.detect, clock=self._clock)
        running = _RunningStream(record, epoch, has_worked, tap)
        loop = asyncio.get_running_loop()

        def on_state(state: StreamState, detail: str) -> None:  # runs in the decode thread
            loop.call_soon_threadsafe(self._state_changed, running, state, detail)

        running.source = self._parts.source(record.spec, on_state=on_state, has_worked=has_worked)
        running.controls = ControllableSource(
            running.source,
            spec=record.spec,
            is_paused=record.is_paused,
            after_index=after_index,
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
        """Change a running stream in place; False when it must be started again (another source, other zones)."""
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
        """Make the previews that somebody looks at, and no others, until the next call."""
        for stream_id, running in self._streams.items():
            running.tap.kinds = frozenset(kind for kind in PreviewKind if preview_channel(stream_id, kind) in channels)

    async def stop(self, stream_id: str, reason: StopReason) -> None:
        """Stop a stream and wait until it is gone; nothing happens when it does not run or is being stopped."""
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
        """Publish the state that a report says."""
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

    def take_ended(self) -> dict[str, Ended]:
        """Streams that ended by themselves since the last call; they are forgotten here."""
        ended = {
            stream_id: Ended(
                running.outcome,
                self._report(running),
                running.verdict,
                is_own_trouble=running.outcome is Outcome.GIVE_BACK and running.verdict is None,
            )
            for stream_id, running in self._streams.items()
            if running.outcome is not None and not running.is_stopping
        }
        for stream_id in ended:
            del self._streams[stream_id]
        return ended

    def reports(self) -> dict[str, StreamReport]:
        """What is to be said of each running stream now."""
        return {stream_id: self._report(running) for stream_id, running in self._streams.items()}

    async def stop_all(self, reason: StopReason) -> None:
        """Stop every stream at once."""
        async with asyncio.TaskGroup() as stopping:
            for stream_id in list(self._streams):
                stopping.create_task(self.stop(stream_id, reason))

    async def _run(self, running: _RunningStream, pipeline: Pipeline) -> None:
        stream_id = running.record.stream_id
        STREAM_ID.set(stream_id)  # of this task and those it starts
        telling = asyncio.create_task(self._tell_all(running))
        try:
            await pipeline.run()
            running.outcome, running.state, running.detail = Outcome.ENDED, StreamState.ENDED, "the source is finished"
        except EventRejectedError as exc:
            logger.warning("stream %s: %s", stream_id, exc, extra=_trace_of(exc))
            running.outcome = Outcome.DEPOSED
        except EmostreamError as exc:
            logger.warning("stream %s: %s", stream_id, exc, extra=_trace_of(exc))
            self._failed(running, exc, redact(str(exc)))
        except Exception as exc:  # the top of a stream's task: a defect here must not touch other streams
            logger.exception("stream %s: internal error", stream_id)
            self._failed(running, exc, f"internal error: {type(exc).__name__}: {redact(str(exc))}")
        finally:
            running.tap.close()
            telling.cancel()
            await asyncio.wait([telling])

    def _failed(self, running: _RunningStream, exc: Exception, detail: str) -> None:
        running.detail = running.last_error = detail
        running.verdict = verdict_of(exc)
        if isinstance(exc, EmostreamError) and exc.retryable:
            running.outcome, running.state = Outcome.RETRY, StreamState.RECONNECTING
        elif isinstance(exc, DecodeError):  # a file that was read as far as it goes
            running.outcome, running.state = Outcome.FAILED, StreamState.FAILED
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
        except EmostreamError as exc:  # the report in the registry says the same
            logger.warning("status %s of stream %s is not published: %s", event.state, event.stream_id, exc)

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
            num_dropped=meter.num_dropped,
            num_reconnects=live_stats.num_reconnects if live_stats else 0,
            num_corrupt=stats.num_corrupt if stats else 0,
            measured_fps=round(meter.measured_fps(now_seconds=now_seconds), 2),
            latency_ms=None if latency_ms is None else round(latency_ms, 1),
            lag_ms=None if lag_ms is None else round(lag_ms, 1),
            source_delay_ms=None if delay_seconds is None else round(1000 * delay_seconds, 1),
            last_error=running.last_error,
            has_worked=running.has_worked or info is not None,
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
    """For the decode thread: let the event loop do something, and wait until it is done."""

    def wait() -> None:
        if on_first_picture is None or loop.is_closed():
            return
        doing = asyncio.run_coroutine_threadsafe(on_first_picture(stream_id), loop)
        try:
            doing.result(timeout=_FIRST_PICTURE_SECONDS)
        except (EmostreamError, TimeoutError, CancelledError) as exc:
            logger.info("stream %s: its first picture could not be noted yet: %s", stream_id, exc)

    return wait


def _trace_of(error: EmostreamError) -> dict[str, str]:
    """For the log: the trace that the error ended, if one of its frames was traced."""
    return {"trace_id": error.trace_id}


def _info_of(source: FrameSource) -> SourceInfo | None:
    try:
        return source.info
    except RuntimeError:  # not open yet
        return None


def _what_needs_a_restart(record: StreamRecord) -> tuple[object, ...]:
    return record.spec.url, record.spec.kind, record.spec.zones, record.created_epoch
