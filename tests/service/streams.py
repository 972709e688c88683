"""Parts of streams for the tests of this folder: real pipelines on scripted sources."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from emostream.config import TrackSettings
from emostream.decode.live_source import StateObserver
from emostream.decode.source import FrameSource
from emostream.domain.clock import utc_now
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.pipeline.pipeline import Pipeline
from emostream.publish.sink import EventSink
from emostream.service.registry.records import StreamRecord
from emostream.service.worker.host import TunablePipeline
from emostream.testing.fakes import ConstantClassifier, ScriptedDetector, ScriptedSource, face_at, gray_frames
from emostream.vision.classify.batcher import CropBatcher
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.track.follower import FaceFollower


class EndlessSource(ScriptedSource):
    """A live source with a frame every `seconds_per_frame` until it is closed; indexes and time grow."""

    def __init__(self, *, seconds_per_frame: float = 0.01, kind: StreamKind = StreamKind.LIVE) -> None:
        super().__init__(gray_frames(1), kind=kind)
        self._seconds_per_frame = seconds_per_frame
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        (frame,) = gray_frames(1)
        index = 0
        while not self._closed.wait(self._seconds_per_frame):
            yield replace(frame, frame_index=index, pts_seconds=index / 25, captured_at=utc_now())
            self.stats.num_decoded = index = index + 1

    def close(self) -> None:
        self._closed.set()


class CrashingSource(EndlessSource):
    """A video that crashes its decoder, and with it the process."""

    def __iter__(self) -> Iterator[Frame]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return super().__iter__()


class Detects(Protocol):
    """What finds faces."""

    def detect(self, luma: Luma) -> list[Face]:
        """In a picture."""
        ...


class ScriptedParts:
    """Makes streams whose sources come from a function."""

    def __init__(self, source_of: Callable[[StreamSpec], FrameSource] = lambda spec: EndlessSource()) -> None:
        self._source_of = source_of
        self.observers: dict[str, StateObserver] = {}
        self.sources: dict[str, FrameSource] = {}
        self.have_worked: dict[str, bool] = {}
        self.detector: Detects = ScriptedDetector([[face_at(10, 4)]])
        self.end_seconds = 10.0
        self.batcher = CropBatcher(ConstantClassifier(), num_workers=1, max_batch_size=32)

    def source(self, spec: StreamSpec, *, on_state: StateObserver, has_worked: bool) -> FrameSource:
        """The source, remembered by stream id."""
        self.have_worked[spec.stream_id] = has_worked
        self.observers[spec.stream_id] = on_state
        self.sources[spec.stream_id] = self._source_of(spec)
        return self.sources[spec.stream_id]

    def pipeline(self, record: StreamRecord, *, epoch: int, source: FrameSource, sink: EventSink) -> TunablePipeline:
        """A real pipeline that sees one face in every frame."""
        pipeline = Pipeline(
            source,
            stream_id=record.stream_id,
            epoch=epoch,
            follower=FaceFollower(self.detector.detect, settings=TrackSettings()),
            classifier=self.batcher,
            smoother=EmotionSmoother(time_constant_seconds=0.5),
            sink=sink,
            end_seconds=self.end_seconds,
        )
        return TunablePipeline(pipeline)

    def detect(self, luma: Luma) -> list[Face]:
        """The same face."""
        return [face_at(10, 4)]


def live_record(stream_id: str = "door") -> StreamRecord:
    """A wanted live stream."""
    return StreamRecord(StreamSpec(stream_id, "rtsp://user:secret@camera/1", StreamKind.LIVE))
