"""Measures CPU time per stage, with all stages of a clip run one after the other in one thread."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from emostream.config import Settings
from emostream.decode.open_source import open_source
from emostream.domain.clock import utc_now
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.domain.stream import StreamSpec
from emostream.pipeline.build import load_chosen_detector
from emostream.pipeline.chunk import FollowedChunk, ScoredChunk, cut_chunk
from emostream.pipeline.event_maker import EventMaker
from emostream.pipeline.pipeline import MAX_CHUNK_FRAMES
from emostream.pipeline.process_tuning import tune_process
from emostream.vision.classify.changed_crops import ChangedCrops
from emostream.vision.classify.classifier import Classified, EmotionClassifier
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.load import load_classifier
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.track.follower import FaceFollower
from emostream.wire.events import json_from_event

T = TypeVar("T")

STAGES = ("decode", "detect", "follow", "crop", "classify", "event", "encode")
"""In the order in which a frame passes them."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """CPU milliseconds per frame of one stage.

    Attributes:
        mean: over all frames.
        p50, p95, p99: percentiles over chunks of frames, of the mean in each chunk.
    """

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class StageProfile:
    """What the stages of a clip did and took.

    Attributes:
        costs: of each stage.
        num_frames: frames of the clip.
        num_faces: faces in them.
        num_classified: crops that were classified.
        num_searches: frames that the detector searched.
        seconds: length of the clip, in source time.
    """

    costs: dict[str, StageCost]
    num_frames: int
    num_faces: int
    num_classified: int
    num_searches: int
    seconds: float

    @property
    def faces_per_frame(self) -> float:
        return self.num_faces / max(self.num_frames, 1)

    @property
    def searches_per_second(self) -> float:
        return self.num_searches / self.seconds if self.seconds else 0.0

    @property
    def classified_share(self) -> float:
        """Classified crops per face."""
        return self.num_classified / self.num_faces if self.num_faces else 0.0


class _Stopwatch:
    """Sums this thread's CPU time per stage and chunk, and counts."""

    def __init__(self) -> None:
        self.num_faces = self.num_classified = self.num_searches = 0
        self.first_seconds, self.last_seconds = math.inf, -math.inf
        self._chunks: list[dict[str, float]] = []
        self._num_frames: list[int] = []

    def next_chunk(self) -> None:
        self._chunks.append(dict.fromkeys(STAGES, 0.0))
        self._num_frames.append(0)

    def has_frames(self, num_frames: int) -> None:
        self._num_frames[-1] = num_frames

    def timed(self, stage: str, call: Callable[[], T]) -> T:
        started = time.thread_time()
        try:
            return call()
        finally:
            self.add(stage, time.thread_time() - started)

    def add(self, stage: str, seconds: float) -> None:
        self._chunks[-1][stage] += seconds

    def count(self, chunk: FollowedChunk) -> None:
        self.num_faces += sum(len(found.faces) for found in chunk.followed)
        self.num_classified += len(chunk.crops)
        self.num_searches += sum(found.was_detected for found in chunk.followed)
        self.first_seconds = min(self.first_seconds, chunk.frames[0].pts_seconds)
        self.last_seconds = chunk.frames[-1].pts_seconds

    def profile(self) -> StageProfile:
        pairs = [(chunk, count) for chunk, count in zip(self._chunks, self._num_frames, strict=True) if count]
        counts = [count for _, count in pairs]
        return StageProfile(
            costs={stage: _cost([chunk[stage] for chunk, _ in pairs], counts) for stage in STAGES},
            num_frames=sum(counts),
            num_faces=self.num_faces,
            num_classified=self.num_classified,
            num_searches=self.num_searches,
            seconds=max(self.last_seconds - self.first_seconds, 0.0),
        )


def profile_stages(spec: StreamSpec, *, settings: Settings) -> StageProfile:
    """Run the stages of a clip one after the other in this thread and measure each.

    Excludes the pipeline's threads, hand-overs and waiting; the difference from the pipeline's CPU time is their cost.
    The decoder runs in this thread as well.

    Raises:
        SourceError: the clip cannot be read.
        ModelError: a model is missing.
    """
    tune_process()
    detector = load_chosen_detector(settings)
    classifier = load_classifier(settings.classify, cache_dir=settings.models.cache_dir)
    try:
        return _profiled(spec, settings=settings, detector=detector, classifier=classifier).profile()
    finally:
        classifier.close()


def _profiled(
    spec: StreamSpec, *, settings: Settings, detector: FaceDetector, classifier: EmotionClassifier
) -> _Stopwatch:
    watch = _Stopwatch()
    events = EventMaker(
        stream_id=spec.stream_id,
        epoch=0,
        manifest=classifier.manifest,
        smoother=EmotionSmoother(time_constant_seconds=settings.classify.smoothing_seconds),
        hysteresis=EmotionHysteresis(
            hold_seconds=settings.classify.hold_seconds, margin=settings.classify.switch_margin
        ),
    )

    def detect(luma: Luma) -> list[Face]:
        started = time.thread_time()
        faces = detector.detect(luma)
        seconds = time.thread_time() - started
        watch.add("detect", seconds)
        watch.add("follow", -seconds)  # the follower calls the detector
        return faces

    changed = None if settings.classify.every_crop else ChangedCrops()
    follower = FaceFollower(detect, settings=settings.track, detections_per_second=settings.track.detections_per_second)
    with open_source(spec, settings=settings.decode.model_copy(update={"num_threads": 1})) as source:
        frames = iter(source)
        while True:
            watch.next_chunk()
            taken = watch.timed("decode", lambda: list(itertools.islice(frames, MAX_CHUNK_FRAMES)))
            watch.has_frames(len(taken))
            if not taken:
                return watch
            _one_chunk(taken, watch=watch, follower=follower, classifier=classifier, changed=changed, events=events)


def _one_chunk(
    frames: Sequence[Frame],
    *,
    watch: _Stopwatch,
    follower: FaceFollower,
    classifier: EmotionClassifier,
    changed: ChangedCrops | None,
    events: EventMaker,
) -> None:
    followed = watch.timed("follow", lambda: [follower.follow(frame) for frame in frames])
    side = classifier.manifest.input_size_pixels
    chunk = watch.timed("crop", lambda: cut_chunk(frames, followed, size=side, changed=changed))
    probabilities = watch.timed("classify", lambda: classifier.classify(chunk.crops))
    scored = ScoredChunk(chunk, Classified(probabilities, 0.0, 0.0))
    watch.count(chunk)
    made = watch.timed("event", lambda: events.events_from(scored, now=utc_now()))
    watch.timed("encode", lambda: [json_from_event(event) for event in made])


def _cost(seconds: Sequence[float], num_frames: Sequence[int]) -> StageCost:
    if not seconds:
        return StageCost(0.0, 0.0, 0.0, 0.0)
    milliseconds, counts = 1000 * np.array(seconds), np.array(num_frames)
    mean = float(milliseconds.sum() / counts.sum())
    p50, p95, p99 = np.percentile(milliseconds / counts, [50, 95, 99]).tolist()
    return StageCost(round(mean, 3), round(p50, 3), round(p95, 3), round(p99, 3))
