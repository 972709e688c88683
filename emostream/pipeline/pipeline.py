"""The pipeline of a stream: frame → faces → crops → scores → events.

It is the same for the CLI, in tests and in the service. Decoding, tracking and classification block, so they run in
threads and overlap: while one chunk of frames is classified, the next is tracked and the one after it decoded. Each
stream has a decoding thread; tracking and classification use a few threads that all streams share, one per core, so
that no more searches run at once than there are cores. Frames keep their order, because each stage of a stream
processes one chunk at a time and passes it on through a bounded queue. The event loop passes chunks on and writes
events; chunks of a file are submitted ahead, so that workers do not wait for the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import ParamSpec, TypeVar

from emostream.audio.voice import STEP_SECONDS
from emostream.decode.blocked_calls import BLOCKED_CALLS
from emostream.decode.buffer import FrameBuffer, OverflowPolicy
from emostream.decode.source import FrameSource
from emostream.domain.clock import utc_now
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.frame import Frame
from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind, StreamState
from emostream.domain.summary import RollingSummary
from emostream.domain.voice import VoiceEvent
from emostream.domain.zones import Zone
from emostream.errors import EmostreamError, PublishError, SourceError
from emostream.pipeline.chunk import FollowedChunk, ScoredChunk, cut_chunk
from emostream.pipeline.event_maker import EventMaker
from emostream.pipeline.serial_executor import SerialExecutor
from emostream.pipeline.voice_track import VoiceTrack
from emostream.publish.sink import EventSink, publish_summary, publish_voice
from emostream.telemetry.tracing import FrameTracer, stage
from emostream.vision.classify.changed_crops import ChangedCrops
from emostream.vision.classify.classifier import SharedClassifier
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.load_shedding import LoadShedding
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.persons.finder import PersonFinder
from emostream.vision.track.follower import FaceFollower, FollowedFaces

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

MAX_CHUNK_FRAMES = 8
"""Largest number of frames per chunk: larger chunks cause fewer thread switches, smaller ones less latency."""

# Limit of a chunk's size: eight frames of 1080p, fewer of larger ones. About seven chunks of a stream exist at once, so
# this is 175 MB for 4K and 350 MB for 8K.
_MAX_CHUNK_PIXELS = MAX_CHUNK_FRAMES * 1920 * 1088

# Chunks waiting between two stages; together with the chunk being processed on either side this bounds memory.
_MAX_WAITING_CHUNKS = 1

_END_SECONDS = 5.0

# An interrupted run waits no longer than this for a sink that is away.
_MAX_LAST_STATUS_SECONDS = 5.0

EventObserver = Callable[[Frame, EmotionEvent], None]
"""Called with each frame and its event, in order, in a worker thread; for annotated videos and progress bars."""

VoiceObserver = Callable[[VoiceEvent], None]
"""Called with each voice event, in order, in a worker thread."""


@dataclass(slots=True)
class PipelineStats:
    """Counters of one run.

    Attributes:
        num_frames: frames processed and published.
        num_faces: faces published, over all frames.
        num_dropped: frames dropped because a live source was faster than the processing.
        num_unclassified: frames with faces that were not classified because of load shedding.
        num_detections: frames searched by the detector.
        stage_seconds: time spent per stage; stages overlap, so the sum may exceed the wall time.
        track_ids: all tracks seen.
    """

    num_frames: int = 0
    num_faces: int = 0
    num_dropped: int = 0
    num_unclassified: int = 0
    num_detections: int = 0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    track_ids: set[int] = field(default_factory=set)

    def add_time(self, stage: str, seconds: float) -> None:
        """Add time spent in a stage."""
        self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds


class Pipeline:
    """The pipeline of one stream, from source to sink. `run` may be awaited once.

    Args:
        source: opened and closed by `run`.
        stream_id: part of every event.
        epoch: number of this run of the stream.
        follower: detects and tracks faces.
        classifier: shared between pipelines; not closed.
        smoother: smooths the probabilities of each track.
        hysteresis: names the dominant emotion of each track; None takes the most probable one of each frame.
        changed: chooses the crops to classify; None classifies every crop.
        zones: named parts of the picture.
        persons: groups tracks into persons; None groups none.
        summary: makes summary events for sinks that accept them; None makes none.
        voice: measures the voice, for sinks that accept voice events; None reads no sound.
        sink: shared between pipelines; not closed.
        workers: threads for tracking, shared between pipelines, not shut down; None uses the pipeline's own thread.
        on_event: called with each frame and its event after it was published.
        on_voice: called with each voice event after it was published.
        notice_of_size: what people should know about frames of this width and height, or nothing; part of the first
            status.
        tracer: traces some of the frames; shared between pipelines, not closed; None traces none.
        max_frames: number of processed frames (dropped ones do not count) after which the run ends; None means no
            limit. The attribute may be changed while it runs.
        end_seconds: calls into the source that take longer to end are left behind.
        now: wall clock, aware UTC.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        stream_id: str,
        epoch: int,
        follower: FaceFollower,
        classifier: SharedClassifier,
        smoother: EmotionSmoother,
        sink: EventSink,
        hysteresis: EmotionHysteresis | None = None,
        changed: ChangedCrops | None = None,
        zones: Sequence[Zone] = (),
        persons: PersonFinder | None = None,
        summary: RollingSummary | None = None,
        voice: VoiceTrack | None = None,
        workers: Executor | None = None,
        on_event: EventObserver | None = None,
        on_voice: VoiceObserver | None = None,
        notice_of_size: Callable[[int, int], str] | None = None,
        tracer: FrameTracer | None = None,
        max_frames: int | None = None,
        end_seconds: float = _END_SECONDS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.stats = PipelineStats()
        self.max_frames = max_frames
        self._source = source
        self._stream_id = stream_id
        self._epoch = epoch
        self._follower = follower
        self._persons = persons
        self._classifier = classifier
        self._events = EventMaker(
            stream_id=stream_id,
            epoch=epoch,
            manifest=classifier.manifest,
            smoother=smoother,
            hysteresis=hysteresis,
            zones=zones,
        )
        self._changed = changed
        self._load_shedding = LoadShedding()
        self._classified_track_ids: set[int | None] = set()
        self._summary = summary
        self._voice = voice
        self._last_pts_seconds = 0.0
        self._sink = sink
        self._on_event = on_event
        self._on_voice = on_voice
        self._notice_of_size = notice_of_size
        self._tracer = tracer
        self._end_seconds = end_seconds
        self._now = now
        self._executor = ThreadPoolExecutor(max_workers=3, thread_name_prefix=f"emostream-{stream_id}")
        self._serial_executor = SerialExecutor(workers or self._executor)
        self._last_following: Future[FollowedChunk] | None = None
        self._last_observing: Future[None] | None = None

    async def run(self) -> PipelineStats:
        """Process the source to its end, or until cancelled.

        Frames that were decoded before an error are published before it is raised. However it ends, the last status
        says so.

        Raises:
            SourceError: the source failed.
            ModelError: a batch could not be computed.
            PublishError: events could not be delivered.
        """
        try:
            await self._run_source()
        except PublishError:
            raise  # the status could not be published either
        except asyncio.CancelledError as exc:
            await self._publish_last_status(StreamState.ENDED, "interrupted", exc)
            raise
        except EmostreamError as exc:
            await self._publish_last_status(StreamState.FAILED, str(exc), exc)
            raise
        except Exception as exc:
            first = _first_of(exc) if isinstance(exc, ExceptionGroup) else exc
            detail = f"internal error: {type(first).__name__}: {redact(str(first))}"
            await self._publish_last_status(StreamState.FAILED, detail, exc)
            raise
        else:
            await self._publish_status(StreamState.ENDED)
        finally:
            await self._end_threads()
        return self.stats

    async def _end_threads(self) -> None:
        """Wait for the threads of this pipeline. A call into the source that does not return is left behind."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            with contextlib.suppress(RuntimeError):  # the loop is closed, so no one waits any more
                loop.call_soon_threadsafe(ended.set)

        # In a thread of its own: blocked calls of some streams must leave threads for the end of all others.
        ending = threading.Thread(target=end, name=f"emostream-{self._stream_id}-end", daemon=True)
        ending.start()
        try:
            async with asyncio.timeout(self._end_seconds):
                await ended.wait()
            ending.join()  # it has nothing left to do
        except TimeoutError:
            logger.warning("stream %s: a call into its source does not return and is left behind", self._stream_id)
            BLOCKED_CALLS.left_behind(ending)

    async def _run_source(self) -> None:
        try:
            await self._in_thread(self._source.__enter__)
            no_voice = "" if self._voice is None else await self._in_thread(self._voice.open, self._source.info)
            if no_voice:
                logger.warning("stream %s: %s", self._stream_id, no_voice)
            await self._publish_status(StreamState.RUNNING, detail="; ".join(filter(None, [self._notice(), no_voice])))
            await self._run_stages()
        finally:
            self._source.close()
            if self._voice is not None and (fault := self._voice.close()):
                logger.warning("stream %s: %s", self._stream_id, fault)

    def _notice(self) -> str:
        info = self._source.info
        of_size = ""
        if self._notice_of_size is not None and info.width * info.height > 0:
            of_size = self._notice_of_size(info.width, info.height)
        return "; ".join(filter(None, [info.notice, of_size]))

    async def _run_stages(self) -> None:
        policy = OverflowPolicy.WAIT if self._source.kind is StreamKind.FILE else OverflowPolicy.DROP_OLDEST
        buffer = FrameBuffer(policy=policy)
        followed: asyncio.Queue[asyncio.Future[FollowedChunk] | None] = asyncio.Queue(_MAX_WAITING_CHUNKS)
        classified: asyncio.Queue[asyncio.Task[ScoredChunk] | None] = asyncio.Queue(_MAX_WAITING_CHUNKS)
        source_error: SourceError | None = None
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._in_thread(self._decode, buffer))
                following = stages.create_task(self._follow_all(buffer, followed))
                stages.create_task(self._classify_all(stages, followed, classified))
                stages.create_task(self._publish_all(classified))
            source_error = following.result()
        except* EmostreamError as group:
            raise _first_of(group) from group
        finally:
            buffer.close()
            # Shared threads must not use the source after it is closed, nor observers what their owner closes next.
            running = [work for work in (self._last_following, self._last_observing) if work is not None]
            if running:
                await asyncio.wait([asyncio.wrap_future(work) for work in running])
        if source_error is not None:
            raise source_error

    def _decode(self, buffer: FrameBuffer) -> None:
        """Decode in a thread until the source ends or the buffer is closed."""
        error: BaseException | None = None
        try:
            for frame in self._source:
                if not buffer.put(frame):
                    return
        except SourceError as exc:
            error = exc
        finally:
            buffer.finish(error)

    async def _follow_all(
        self, buffer: FrameBuffer, followed: asyncio.Queue[asyncio.Future[FollowedChunk] | None]
    ) -> SourceError | None:
        """Track chunks. Those of a file are submitted ahead, so that workers do not wait for the event loop.

        Returns the error with which the source ended, so that the frames before it are still published.
        """
        source_error: SourceError | None = None
        is_live = self._source.kind is StreamKind.LIVE
        num_taken = 0
        try:
            while num_left := self._most_of_next_chunk(num_taken):
                min_frames = 1 if is_live else num_left
                frames = await buffer.get_many(num_left, max_pixels=_MAX_CHUNK_PIXELS, min_frames=min_frames)
                if not frames:
                    break
                num_taken += len(frames)
                num_dropped = buffer.num_dropped - self.stats.num_dropped
                self.stats.num_dropped += num_dropped
                work = self._serial_executor.submit(self._follow, frames, num_dropped, buffer.wait_seconds)
                del frames  # do not hold their pixels while waiting for the next ones
                self._last_following, following = work, asyncio.wrap_future(work)
                following.add_done_callback(_note_error)
                if is_live:  # frames wait in the buffer, which drops the oldest, instead of here
                    await asyncio.wait([following])
                await followed.put(following)
            else:  # `max_frames` is reached
                buffer.close()
                self._source.close()
        except SourceError as exc:
            source_error = exc
        await followed.put(None)
        return source_error

    def _most_of_next_chunk(self, num_taken: int) -> int:
        return (
            MAX_CHUNK_FRAMES if self.max_frames is None else min(MAX_CHUNK_FRAMES, max(0, self.max_frames - num_taken))
        )

    def _follow(self, frames: Sequence[Frame], num_dropped: int, wait_seconds: float) -> FollowedChunk:
        """Track the faces of a chunk and cut their crops, in a thread."""
        # From here on only the crops are needed, unless there is an observer. Frames held until they were published
        # were two thirds of the decoder's buffers when a live stream had to catch up.
        known = frames if self._on_event is not None else [frame.without_picture() for frame in frames]
        trace = None if self._tracer is None else self._tracer.begin(known, epoch=self._epoch)
        with stage(trace, "follow"):
            followed = [self._follower.follow(frame) for frame in frames]
            if self._persons is not None:
                followed = [self._persons.name(frame, found) for frame, found in zip(frames, followed, strict=True)]
        return cut_chunk(
            frames,
            followed,
            size=self._classifier.manifest.input_size_pixels,
            changed=self._changed,
            # What is known of a live stream by now depends on its pace; a file must give the same events every time.
            undecided=self._events.undecided if self._source.kind is StreamKind.LIVE else (),
            is_classified=[self._is_classified(found, wait_seconds) for found in followed],
            known=known,
            num_dropped=num_dropped,
            trace=trace,
        )

    def _is_classified(self, found: FollowedFaces, wait_seconds: float) -> bool:
        """Whether to classify the faces of a frame: always for files, and always when one of them is new."""
        is_due = self._source.kind is StreamKind.FILE or self._load_shedding.is_due(
            wait_seconds=wait_seconds, now_seconds=time.monotonic()
        )
        track_ids = {face.track_id for face in found.faces}
        if not is_due and track_ids and track_ids <= self._classified_track_ids:
            return False
        self._classified_track_ids = track_ids
        return True

    async def _classify_all(
        self,
        stages: asyncio.TaskGroup,
        followed: asyncio.Queue[asyncio.Future[FollowedChunk] | None],
        classified: asyncio.Queue[asyncio.Task[ScoredChunk] | None],
    ) -> None:
        """Start to classify each chunk without waiting for the last one, so that all cores are used, in order."""
        while (following := await followed.get()) is not None:
            await classified.put(stages.create_task(self._classify(await following)))
        await classified.put(None)

    async def _classify(self, chunk: FollowedChunk) -> ScoredChunk:
        allow_batching_delay = self._source.kind is StreamKind.LIVE
        with stage(chunk.trace, "classify"):
            return ScoredChunk(
                chunk, await self._classifier.classify(chunk.crops, allow_batching_delay=allow_batching_delay)
            )

    async def _publish_all(self, classified: asyncio.Queue[asyncio.Task[ScoredChunk] | None]) -> None:
        while (classifying := await classified.get()) is not None:
            scored = await classifying
            made = self._events.events_from(scored, now=self._now())
            pairs = [(f, event) for f, event in zip(scored.chunk.frames, made, strict=True) if f.is_published]
            if not pairs:
                continue
            events = [event for _, event in pairs]
            started, trace = time.perf_counter(), scored.chunk.trace
            with stage(trace, "publish"):
                await self._sink.publish(events)
            if trace is not None:
                trace.published(events)
            await self._summarize(events)
            self._last_pts_seconds = events[-1].pts_seconds
            await self._publish_voice_until(self._last_pts_seconds)
            self.stats.add_time("publish", time.perf_counter() - started)
            self._count(scored, events)
            if self._on_event is not None:
                self._last_observing = self._executor.submit(_observe, self._on_event, pairs)
                await asyncio.wrap_future(self._last_observing)
        await self._publish_last_summary()
        await self._publish_voice_until(self._last_pts_seconds + STEP_SECONDS, is_last=True)

    async def _publish_voice_until(self, pts_seconds: float, *, is_last: bool = False) -> None:
        """The sound never runs ahead of the pictures, so that it ends with them and costs no memory."""
        if self._voice is None or not (is_last or self._voice.is_due(pts_seconds)):
            return
        for window in await self._in_thread(self._voice.windows_until, pts_seconds):
            event = VoiceEvent(
                stream_id=self._stream_id,
                epoch=self._epoch,
                window=window,
                captured_at=self._now(),
                model_name=self._voice.model_name,
                model_version=self._voice.model_version,
            )
            await publish_voice(self._sink, event)
            if self._on_voice is not None:
                await self._in_thread(self._on_voice, event)

    def _count(self, scored: ScoredChunk, events: Sequence[EmotionEvent]) -> None:
        chunk = scored.chunk
        self.stats.num_frames += len(events)
        self.stats.num_faces += sum(len(event.faces) for event in events)
        self.stats.num_unclassified += sum(not is_classified for is_classified in chunk.is_classified)
        self.stats.track_ids.update(
            face.track_id for found in chunk.followed for face in found.faces if face.track_id is not None
        )
        self.stats.num_detections += sum(found.was_detected for found in chunk.followed)
        self.stats.add_time("detect", sum(found.detect_seconds for found in chunk.followed))
        self.stats.add_time("follow", sum(found.follow_seconds for found in chunk.followed))
        self.stats.add_time("crop", chunk.crop_seconds)
        self.stats.add_time("classify", scored.classified.compute_seconds)
        self.stats.stage_seconds["decode"] = self._source.stats.decode_seconds

    async def _summarize(self, events: Sequence[EmotionEvent]) -> None:
        if self._summary is not None:
            for event in events:
                if (summary := self._summary.add(event)) is not None:
                    await publish_summary(self._sink, summary)

    async def _publish_last_summary(self) -> None:
        if self._summary is not None and (summary := self._summary.finish()) is not None:
            await publish_summary(self._sink, summary)

    async def _publish_last_status(self, state: StreamState, detail: str, cause: BaseException) -> None:
        """Publish the status of a run that did not reach its end; what keeps it from that becomes a note."""
        try:
            async with asyncio.timeout(_MAX_LAST_STATUS_SECONDS):
                await self._publish_status(state, detail=detail)
        except (Exception, asyncio.CancelledError) as exc:  # the cause matters more, and the caller waits for it
            cause.add_note(f"the last status event could not be published: {exc or type(exc).__name__}")

    async def _publish_status(self, state: StreamState, *, detail: str = "") -> None:
        event = StatusEvent(
            stream_id=self._stream_id,
            epoch=self._epoch,
            state=state,
            at=self._now(),
            detail=detail,
            num_events=self.stats.num_frames,
        )
        await self._sink.publish_status(event)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


def _note_error(following: asyncio.Future[FollowedChunk]) -> None:
    """Mark a chunk's error as retrieved: after an earlier error the chunk is not awaited, and asyncio would log it."""
    if not following.cancelled():
        following.exception()


def _observe(on_event: EventObserver, pairs: Sequence[tuple[Frame, EmotionEvent]]) -> None:
    """Call the observer, in a thread."""
    for frame, event in pairs:
        on_event(frame, event)


def _first_of(group: BaseExceptionGroup[E]) -> E:
    """The first exception of a nested group."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
