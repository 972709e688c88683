"""The flow: every frame becomes one event, in order, and every way to fail ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from emostream.config import TrackSettings
from emostream.domain.affect import derived_affect
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.domain.stream import StreamKind, StreamState
from emostream.domain.summary import RollingSummary
from emostream.domain.zones import Zone
from emostream.errors import DecodeError, EmostreamError, InferenceError, SinkUnavailableError, SourceRejectedError
from emostream.pipeline.pipeline import MAX_CHUNK_FRAMES, EventObserver, Pipeline
from emostream.publish.sink import EventSink
from emostream.testing.fakes import (
    CollectingSink,
    ConstantClassifier,
    ScriptedDetector,
    ScriptedSource,
    face_at,
    gray_frames,
)
from emostream.vision.classify.batcher import CropBatcher
from emostream.vision.classify.changed_crops import ChangedCrops
from emostream.vision.classify.classifier import Classified, SharedClassifier
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.geometry.head_pose import head_poses
from emostream.vision.track.follower import FaceFollower, FollowedFaces
from tests.media import wait_until

NUM_FRAMES = 40


def _pipeline(
    source: ScriptedSource,
    *,
    sink: EventSink,
    faces: Sequence[Sequence[Face]] = ((face_at(40, 30),),),
    classifier: ConstantClassifier | None = None,
    shared: SharedClassifier | None = None,
    on_event: EventObserver | None = None,
    **options: Any,
) -> Pipeline:
    return Pipeline(
        source,
        stream_id="test",
        epoch=7,
        follower=FaceFollower(ScriptedDetector(faces).detect, settings=TrackSettings()),
        classifier=shared or CropBatcher(classifier or ConstantClassifier(), num_workers=1, max_batch_size=32),
        smoother=EmotionSmoother(time_constant_seconds=0.5),
        sink=sink,
        on_event=on_event,
        **options,
    )


def _pipeline_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("emostream-test")]


async def test_each_frame_becomes_one_event_in_order() -> None:
    sink = CollectingSink()
    stats = await _pipeline(ScriptedSource(gray_frames(NUM_FRAMES)), sink=sink).run()

    assert [event.frame_index for event in sink.events] == list(range(NUM_FRAMES))
    assert all((event.stream_id, event.epoch, event.num_dropped) == ("test", 7, 0) for event in sink.events)
    assert stats.num_frames == NUM_FRAMES
    assert [event.state for event in sink.statuses] == [StreamState.RUNNING, StreamState.ENDED]
    assert sink.statuses[-1].num_events == NUM_FRAMES


async def test_the_first_status_says_what_a_size_of_frame_leaves_out() -> None:
    def notice(width: int, height: int) -> str:
        return f"small faces in {width}×{height}"

    for source, detail in ((ScriptedSource(gray_frames(1)), "small faces in 64×48"), (ScriptedSource([]), "")):
        sink = CollectingSink()
        await _pipeline(source, sink=sink, notice_of_size=notice).run()
        assert sink.statuses[0].detail == detail


async def test_faces_keep_their_track_and_their_scores_are_distributions() -> None:
    sink = CollectingSink()
    stats = await _pipeline(ScriptedSource(gray_frames(NUM_FRAMES)), sink=sink).run()

    faces = [face for event in sink.events for face in event.faces]
    assert len(faces) == stats.num_faces == NUM_FRAMES
    assert {face.face.track_id for face in faces} == stats.track_ids
    assert len(stats.track_ids) == 1
    assert all(sum(face.smoothed.probabilities) == pytest.approx(1) for face in faces)


async def test_faces_say_where_the_head_turns_and_what_follows_from_their_probabilities() -> None:
    sink = CollectingSink()
    await _pipeline(ScriptedSource(gray_frames(2)), sink=sink).run()

    for face in (face for event in sink.events for face in event.faces):
        expected = head_poses(np.array([face.landmarks]))[0]
        assert (face.yaw_degrees, face.pitch_degrees, face.roll_degrees) == pytest.approx(expected, abs=0.06)
        assert (face.derived_valence, face.derived_arousal) == derived_affect(
            face.smoothed.labels, face.smoothed.probabilities
        )


async def test_crops_have_the_side_that_the_model_takes() -> None:
    class Looking(ConstantClassifier):
        shapes: ClassVar[set[tuple[int, ...]]] = set()

        def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            self.shapes.add(crops.shape[1:])
            return super().classify(crops)

    source = ScriptedSource(gray_frames(3))
    await _pipeline(source, sink=CollectingSink(), classifier=Looking(input_size_pixels=48)).run()
    assert Looking.shapes == {(48, 48)}


async def test_colour_is_not_decoded_and_few_requests_of_a_stream_wait_for_the_model() -> None:
    class Counting:
        num_now = most = 0

        def __init__(self, classifier: SharedClassifier) -> None:
            self._classifier, self.manifest = classifier, classifier.manifest
            self._has_three = asyncio.Event()

        async def classify(self, crops: npt.NDArray[np.uint8], *, allow_batching_delay: bool) -> Classified:
            self.num_now += 1
            self.most = max(self.most, self.num_now)
            if self.num_now == 3:
                await asyncio.sleep(0.1)  # a fourth would come now
                self._has_three.set()
            await asyncio.wait_for(self._has_three.wait(), 20)
            self.num_now -= 1
            return await self._classifier.classify(crops, allow_batching_delay=allow_batching_delay)

        def close(self) -> None:
            self._classifier.close()

    def no_colour() -> npt.NDArray[np.uint8]:
        raise AssertionError("colour is for those who look")

    frames = [replace(frame, load_rgb=no_colour) for frame in gray_frames(120)]
    sink, shared = CollectingSink(), Counting(CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=32))
    await _pipeline(ScriptedSource(frames), sink=sink, shared=shared).run()
    assert len(sink.events) == 120
    assert shared.most == 3


class _SlowClassifier(ConstantClassifier):
    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        time.sleep(0.1 * len(crops))
        return super().classify(crops)


class _Camera(ScriptedSource):
    """Fifty frames a second."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            time.sleep(0.02)
            yield frame


async def test_an_overloaded_live_stream_gives_up_scores_before_frames() -> None:
    sink, classifier = CollectingSink(), _SlowClassifier()
    source = _Camera(gray_frames(120), kind=StreamKind.LIVE)
    stats = await _pipeline(source, sink=sink, classifier=classifier).run()

    unclassified = [event for event in sink.events if not event.is_classified]
    assert len(unclassified) == stats.num_unclassified > 0
    assert all(face.dominant == "happy" for event in unclassified for face in event.faces)
    assert stats.num_faces == len(sink.events) == classifier.num_crops + stats.num_unclassified
    assert sink.events[0].is_classified


async def test_the_next_chunk_of_a_file_does_not_wait_for_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """While events are written, the loop hands nothing on; the worker goes from one chunk to the next all the same."""
    last_followed = -1
    follow = FaceFollower.follow

    def slow_follow(self: FaceFollower, frame: Frame) -> FollowedFaces:
        nonlocal last_followed
        time.sleep(0.005)  # so that decoding is ahead
        last_followed = frame.frame_index
        return follow(self, frame)

    class BusySink(CollectingSink):
        async def publish(self, events: Sequence[EmotionEvent]) -> None:
            if events[0].frame_index == 0:
                assert wait_until(lambda: last_followed >= 3 * MAX_CHUNK_FRAMES - 1, timeout_seconds=10)
            await super().publish(events)

    monkeypatch.setattr(FaceFollower, "follow", slow_follow)
    sink = BusySink()
    await _pipeline(ScriptedSource(gray_frames(NUM_FRAMES)), sink=sink).run()
    assert [event.frame_index for event in sink.events] == list(range(NUM_FRAMES))


@pytest.mark.parametrize("kind", StreamKind)
async def test_pictures_are_let_go_once_their_faces_are_cut_out(kind: StreamKind) -> None:
    """However many events wait behind them: for a server that has gone away, say."""
    pictures: list[weakref.ref[Luma]] = []

    class NewPictures(_Camera):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                luma = frame.luma.copy()
                pictures.append(weakref.ref(luma))
                yield replace(frame, luma=luma)

    class WaitingSink(CollectingSink):
        most = 0

        async def publish(self, events: Sequence[EmotionEvent]) -> None:
            if not self.events:
                for _ in range(50):  # all stages before this one fill up
                    await asyncio.sleep(0.02)
                    self.most = max(self.most, sum(picture() is not None for picture in pictures))
            await super().publish(events)

    sink = WaitingSink()
    await _pipeline(NewPictures(gray_frames(100), kind=kind), sink=sink).run()
    in_the_buffer, being_followed, elsewhere = 8, MAX_CHUNK_FRAMES, 3  # the decoder's, the follower's last
    assert len(pictures) == 100
    assert sink.most <= in_the_buffer + being_followed + elsewhere


async def test_a_file_is_classified_in_every_frame_however_long_it_takes() -> None:
    sink = CollectingSink()
    await _pipeline(ScriptedSource(gray_frames(20)), sink=sink, classifier=_SlowClassifier()).run()
    assert len(sink.events) == 20 and all(event.is_classified for event in sink.events)


async def test_frames_before_a_source_error_are_published() -> None:
    sink = CollectingSink()
    source = ScriptedSource(gray_frames(11), error=DecodeError("the file was cut"))
    with pytest.raises(DecodeError, match="was cut"):
        await _pipeline(source, sink=sink).run()

    assert len(sink.events) == 11
    assert sink.statuses[-1].state is StreamState.FAILED
    assert sink.statuses[-1].detail == "the file was cut"


async def test_the_error_of_the_source_matters_more_than_that_of_reporting_it() -> None:
    source = ScriptedSource(gray_frames(3), error=DecodeError("the file was cut"))
    with pytest.raises(DecodeError, match="was cut"):
        await _pipeline(source, sink=_SinkThatGoesAway()).run()


async def test_a_source_that_does_not_open_fails_without_having_run() -> None:
    sink = CollectingSink()
    with pytest.raises(SourceRejectedError):
        await _pipeline(ScriptedSource([], open_error=SourceRejectedError("no such file")), sink=sink).run()
    assert [event.state for event in sink.statuses] == [StreamState.FAILED]


class _FailingClassifier(ConstantClassifier):
    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self._error = error or InferenceError("the engine broke")

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        raise self._error


@pytest.mark.parametrize("in_classifier", [True, False], ids=["classifier", "observer"])
async def test_an_internal_error_is_the_last_status_without_secrets(in_classifier: bool) -> None:
    error = RuntimeError("cannot parse rtsp://admin:hunter2@camera/1")

    def broken(frame: Frame, event: EmotionEvent) -> None:
        raise error

    sink = CollectingSink()
    classifier = _FailingClassifier(error) if in_classifier else None
    on_event = None if in_classifier else broken
    with pytest.raises((RuntimeError, ExceptionGroup)):
        await _pipeline(ScriptedSource(gray_frames(3)), sink=sink, classifier=classifier, on_event=on_event).run()
    assert [event.state for event in sink.statuses] == [StreamState.RUNNING, StreamState.FAILED]
    assert "RuntimeError" in sink.statuses[-1].detail and "hunter2" not in sink.statuses[-1].detail


class _SinkThatGoesAway(CollectingSink):
    async def publish_status(self, event: StatusEvent) -> None:
        if event.state is StreamState.FAILED:
            raise SinkUnavailableError("gone")


@pytest.mark.parametrize(
    ("classifier", "sink", "expected"),
    [
        (_FailingClassifier(), CollectingSink(), InferenceError),
        (ConstantClassifier(), _SinkThatGoesAway(failures=[SinkUnavailableError("gone")]), SinkUnavailableError),
    ],
    ids=["classifier", "sink"],
)
async def test_a_failing_stage_ends_the_others_and_leaves_no_thread(
    classifier: ConstantClassifier, sink: CollectingSink, expected: type[EmostreamError]
) -> None:
    source = ScriptedSource(gray_frames(500))
    with pytest.raises(expected):
        await _pipeline(source, sink=sink, classifier=classifier).run()
    assert source.is_closed
    assert not _pipeline_threads()


async def test_cancelling_publishes_the_end_closes_the_source_and_leaves_no_thread() -> None:
    class Stuck(CollectingSink):
        async def publish(self, events: Sequence[EmotionEvent]) -> None:
            await asyncio.sleep(60)

    source, sink = ScriptedSource(gray_frames(500)), Stuck()
    run = asyncio.create_task(_pipeline(source, sink=sink).run())
    await asyncio.sleep(0.2)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [event.state for event in sink.statuses] == [StreamState.RUNNING, StreamState.ENDED]
    assert source.is_closed
    assert not _pipeline_threads()


async def test_a_slow_live_pipeline_drops_frames_and_says_how_many() -> None:
    class Slow(CollectingSink):
        async def publish(self, events: Sequence[EmotionEvent]) -> None:
            await asyncio.sleep(0.05)
            await super().publish(events)

    sink = Slow()
    source = ScriptedSource(gray_frames(300), kind=StreamKind.LIVE)
    stats = await _pipeline(source, sink=sink).run()

    assert stats.num_dropped > 0
    assert len(sink.events) + sum(event.num_dropped for event in sink.events) == 300
    indexes = [event.frame_index for event in sink.events]
    assert indexes == sorted(set(indexes))


@pytest.mark.parametrize("max_frames", [1, 8, 11])
async def test_processed_frames_of_a_live_source_are_counted_not_dropped_ones(max_frames: int) -> None:
    class Fast(ScriptedSource):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                time.sleep(0.001)
                yield frame

    class Slow(CollectingSink):
        async def publish(self, events: Sequence[EmotionEvent]) -> None:
            await asyncio.sleep(0.05)
            await super().publish(events)

    sink, source = Slow(), Fast(gray_frames(3000), kind=StreamKind.LIVE)
    stats = await _pipeline(source, sink=sink, max_frames=max_frames).run()
    assert stats.num_frames == len(sink.events) == max_frames
    assert sink.statuses[-1].state is StreamState.ENDED
    assert source.is_closed
    assert not _pipeline_threads()


async def test_an_interrupted_run_waits_for_its_observer() -> None:
    """Its owner closes a file next, into which the observer may still write."""
    begun, is_over = threading.Event(), False

    def observe(frame: Frame, event: EmotionEvent) -> None:
        nonlocal is_over
        begun.set()
        time.sleep(0.3)
        is_over = True

    source = ScriptedSource(gray_frames(1))
    running = asyncio.create_task(_pipeline(source, sink=CollectingSink(), on_event=observe, end_seconds=0.01).run())
    await asyncio.to_thread(begun.wait)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert is_over


async def test_the_observer_sees_each_frame_with_its_event() -> None:
    seen: list[tuple[int, int]] = []

    def observe(frame: Frame, event: EmotionEvent) -> None:
        seen.append((frame.frame_index, event.frame_index))

    await _pipeline(ScriptedSource(gray_frames(20)), sink=CollectingSink(), on_event=observe).run()
    assert seen == [(index, index) for index in range(20)]


async def test_of_pixels_that_are_not_square_events_have_the_stored_ones() -> None:
    sink = CollectingSink()
    frames = [replace(frame, pixel_aspect=2.0, stored_size=(32, 48)) for frame in gray_frames(3)]
    left = Zone("left", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
    face = face_at(4, 10, size=20)
    await _pipeline(ScriptedSource(frames), sink=sink, faces=[[face]], zones=[left]).run()
    for event in sink.events:
        assert (event.frame_width, event.frame_height, event.pixel_aspect) == (32, 48, 2.0)
        (found,) = event.faces
        assert found.box_xyxy == pytest.approx((2, 10, 12, 30), abs=0.5)
        assert found.zones == ("left",)
    assert sink.events[0].faces[0].landmarks == face.scaled(0.5, 1).landmarks


async def test_no_face_is_an_event_too() -> None:
    sink = CollectingSink()
    await _pipeline(ScriptedSource(gray_frames(10)), sink=sink, faces=((),)).run()
    assert [event.faces for event in sink.events] == [()] * 10


async def test_summaries_cover_every_event_and_sinks_that_take_none_are_spared() -> None:
    sink = CollectingSink()
    source = ScriptedSource(gray_frames(NUM_FRAMES))
    await _pipeline(source, sink=sink, summary=RollingSummary(interval_seconds=0.5)).run()
    assert [summary.summary_index for summary in sink.summaries] == [0, 1, 2, 3]
    assert sum(summary.num_frames for summary in sink.summaries) == NUM_FRAMES
    assert sum(summary.num_faces for summary in sink.summaries) == NUM_FRAMES

    bare = _WithoutSummaries()
    source = ScriptedSource(gray_frames(NUM_FRAMES))
    await _pipeline(source, sink=bare, summary=RollingSummary(interval_seconds=0.5)).run()
    assert bare.num_events == NUM_FRAMES


class _WithoutSummaries:
    """A sink as it was before there were summaries."""

    num_events = 0

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        self.num_events += len(events)

    async def publish_status(self, event: StatusEvent) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_faces_carry_their_zones_and_a_name_that_holds() -> None:
    sink = CollectingSink()
    zones = (Zone("all", ((0, 0), (1, 0), (1, 1), (0, 1))), Zone("corner", ((0, 0), (0.1, 0), (0, 0.1))))
    hysteresis = EmotionHysteresis(hold_seconds=0.4, margin=0.2)
    source = ScriptedSource(gray_frames(NUM_FRAMES, width=200, height=160))
    await _pipeline(source, sink=sink, zones=zones, hysteresis=hysteresis).run()
    faces = [face for event in sink.events for face in event.faces]
    assert {face.zones for face in faces} == {("all",)}
    # Gray frames are flat (blurred) and get bright and dark: unknown where both are wrong for long.
    assert {face.dominant for face in faces} <= {"happy", "unknown"}


@pytest.mark.parametrize("kind", StreamKind)
async def test_faces_that_do_not_change_are_classified_now_and_then(kind: StreamKind) -> None:
    frames = [replace(frame, luma=np.full((96, 96), 90, np.uint8)) for frame in gray_frames(30)]
    sink, classifier = CollectingSink(), ConstantClassifier()
    source = ScriptedSource(frames, kind=kind)
    face = face_at(20, 20, size=60)
    await _pipeline(source, sink=sink, faces=((face,),), classifier=classifier, changed=ChangedCrops()).run()

    faces = [found for event in sink.events for found in event.faces]
    assert len(faces) == len(sink.events)
    assert sum(found.is_classified for found in faces) == classifier.num_crops
    assert len(faces) / 4 <= classifier.num_crops <= len(faces) / 2
    assert all(found.dominant == "happy" and event.is_classified for event in sink.events for found in event.faces)
