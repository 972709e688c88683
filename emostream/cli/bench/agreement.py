"""Compares the fast path (sparse detection, INT8) with the plain path (FP32 detection on every frame)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emostream.config import DetectSettings, Settings, TrackSettings
from emostream.decode.open_source import open_source
from emostream.domain.clock import utc_now
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.pipeline.build import load_chosen_detector
from emostream.pipeline.chunk import FollowedChunk, ScoredChunk, cut_chunk
from emostream.pipeline.event_maker import EventMaker
from emostream.pipeline.pipeline import MAX_CHUNK_FRAMES
from emostream.vision.classify.changed_crops import ChangedCrops
from emostream.vision.classify.classifier import Classified, EmotionClassifier
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.load import load_classifier
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.track.follower import FaceFollower

_EVERY_FRAME = 1e6  # searches per second
_SAME_FACE_IOU = 0.3


@dataclass(frozen=True, slots=True)
class ReuseCost:
    """The fast path against itself with every crop classified (`classify.every_crop`).

    Attributes:
        classified_share: classified crops per face.
        same_dominant_share: share of faces with the same dominant emotion.
        mean_probability_change: mean absolute difference of a probability, over all faces and classes.
    """

    classified_share: float
    same_dominant_share: float
    mean_probability_change: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of the two paths on one clip. Means are over the faces found by both.

    Attributes:
        video: the clip.
        num_faces: faces of the plain path, over all frames.
        num_missing: those that the fast path lacks.
        num_extra: faces of the fast path that the plain path lacks.
        longest_loss_seconds: longest uninterrupted time for which a face was missing.
        mean_iou: overlap of the boxes.
        mean_landmark_error, median_landmark_error: mean distance of the five landmarks, in eye distances.
        same_dominant_share: share of faces with the same dominant emotion.
        same_frame_emotion_share: share of faces with the same most probable emotion in the single frame, before
            smoothing, which hides small differences.
        searches_per_second: of the fast path, in source time.
        reuse: what it costs not to classify every crop, as for a file.
        live_reuse: the same as for a live stream, whose frames come one by one.
    """

    video: str
    num_faces: int
    num_missing: int
    num_extra: int
    longest_loss_seconds: float
    mean_iou: float
    mean_landmark_error: float
    median_landmark_error: float
    same_dominant_share: float
    same_frame_emotion_share: float
    searches_per_second: float
    reuse: ReuseCost
    live_reuse: ReuseCost

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-compatible values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Path:
    """The result of one path.

    Attributes:
        events: with every crop classified, or not, as the settings say.
        every_crop: with every crop classified.
        live: as for a live stream.
        num_searches: number of searched frames.
    """

    events: list[EmotionEvent]
    every_crop: list[EmotionEvent]
    live: list[EmotionEvent]
    num_searches: int


def measure_agreement(video: Path, *, settings: Settings) -> Agreement:
    """Run a clip with the given settings, and again with FP32 detection on every frame.

    Raises:
        SourceError: the clip cannot be read.
        ModelError: a model is missing.
    """
    fast = _run(video, settings=settings)
    plain = _run(video, settings=plain_settings(settings))
    return compare(fast, plain.every_crop, video=video.name)


def plain_settings(settings: Settings) -> Settings:
    """The settings of the plain path: every frame searched, every crop classified, both in FP32."""
    detect: DetectSettings = settings.detect.model_copy(update={"precision": "fp32"})
    track: TrackSettings = settings.track.model_copy(update={"detections_per_second": _EVERY_FRAME})
    classify = settings.classify.model_copy(update={"precision": "fp32", "every_crop": True})
    return settings.model_copy(update={"detect": detect, "track": track, "classify": classify})


def compare(fast: _Path, plain: Sequence[EmotionEvent], *, video: str) -> Agreement:
    """Compare the events of both paths, frame by frame and face by face."""
    pairs: list[tuple[FaceEmotion, FaceEmotion, float]] = []
    missing_since: dict[int | None, float] = {}
    num_faces, num_missing, longest_loss = 0, 0, 0.0
    num_extra = 0
    for one, other in zip(fast.events, plain, strict=True):
        num_extra += sum(_partner(face, other.faces)[0] is None for face in one.faces)
        for expected in other.faces:
            num_faces += 1
            track_id = expected.face.track_id
            partner, iou = _partner(expected, one.faces)
            if partner is None:
                num_missing += 1
                since = missing_since.setdefault(track_id, other.pts_seconds)
                longest_loss = max(longest_loss, other.pts_seconds - since)
                continue
            missing_since.pop(track_id, None)
            pairs.append((expected, partner, iou))
    errors = [landmark_error(expected.face, got.face) for expected, got, _ in pairs]
    duration = plain[-1].pts_seconds - plain[0].pts_seconds if plain else 0.0
    return Agreement(
        video=video,
        num_faces=num_faces,
        num_missing=num_missing,
        num_extra=num_extra,
        longest_loss_seconds=round(longest_loss, 3),
        mean_iou=_mean(iou for _, _, iou in pairs),
        mean_landmark_error=_mean(errors),
        median_landmark_error=round(float(np.median(errors)), 4) if errors else 0.0,
        same_dominant_share=_mean(expected.dominant == got.dominant for expected, got, _ in pairs),
        same_frame_emotion_share=_mean(expected.scores.dominant == got.scores.dominant for expected, got, _ in pairs),
        searches_per_second=round(fast.num_searches / duration, 2) if duration else 0.0,
        reuse=_reuse_cost(fast.events, fast.every_crop),
        live_reuse=_reuse_cost(fast.live, fast.every_crop),
    )


def _reuse_cost(some: Sequence[EmotionEvent], every: Sequence[EmotionEvent]) -> ReuseCost:
    pairs = [
        (one, other)
        for event, same in zip(some, every, strict=True)
        for one, other in zip(event.faces, same.faces, strict=True)
    ]
    changes = [np.subtract(one.scores.probabilities, other.scores.probabilities) for one, other in pairs]
    return ReuseCost(
        classified_share=_mean(one.is_classified for one, _ in pairs),
        same_dominant_share=_mean(one.dominant == other.dominant for one, other in pairs),
        mean_probability_change=round(float(np.abs(changes).mean()), 5) if changes else 0.0,
    )


def landmark_error(face: Face, other: Face) -> float:
    """Mean distance of the five landmarks, in eye distances of the first face."""
    points, others = np.array(face.landmarks), np.array(other.landmarks)
    return float(np.linalg.norm(points - others, axis=1).mean() / np.linalg.norm(points[0] - points[1]))


def _partner(face: FaceEmotion, others: Sequence[FaceEmotion]) -> tuple[FaceEmotion | None, float]:
    if not others:
        return None, 0.0
    boxes = np.array([other.face.box_xyxy for other in others])
    overlaps = iou_matrix(np.array([face.face.box_xyxy]), boxes)[0]
    best = int(overlaps.argmax())
    return (others[best], float(overlaps[best])) if overlaps[best] >= _SAME_FACE_IOU else (None, 0.0)


def _run(video: Path, *, settings: Settings) -> _Path:
    spec = StreamSpec(stream_id="clip", url=str(video), kind=StreamKind.FILE)
    classifier = load_classifier(settings.classify, cache_dir=settings.models.cache_dir)
    try:
        with open_source(spec, settings=settings.decode) as source:
            return _events_of(source, settings=settings, detect=load_chosen_detector(settings).detect, by=classifier)
    finally:
        classifier.close()


def _events_of(
    frames: Iterable[Frame], *, settings: Settings, detect: Callable[[Luma], list[Face]], by: EmotionClassifier
) -> _Path:
    follower = FaceFollower(detect, settings=settings.track, detections_per_second=settings.track.detections_per_second)
    of_file, of_every, of_live = (_Classification(settings, by) for _ in range(3))
    changed, changed_live = ChangedCrops(), ChangedCrops()
    num_searches = 0
    remaining = iter(frames)
    while taken := list(itertools.islice(remaining, MAX_CHUNK_FRAMES)):
        followed = [follower.follow(frame) for frame in taken]
        num_searches += sum(found.was_detected for found in followed)
        size = by.manifest.input_size_pixels
        of_every.add(cut_chunk(taken, followed, size=size, changed=None))
        if settings.classify.every_crop:
            continue
        of_file.add(cut_chunk(taken, followed, size=size, changed=changed))
        for frame, found in zip(taken, followed, strict=True):
            undecided = of_live.maker.undecided
            of_live.add(cut_chunk([frame], [found], size=size, changed=changed_live, undecided=undecided))
    if settings.classify.every_crop:
        of_file = of_live = of_every
    return _Path(of_file.events, of_every.events, of_live.events, num_searches)


class _Classification:
    """Classifies the chunks of one path and makes their events."""

    def __init__(self, settings: Settings, by: EmotionClassifier) -> None:
        classify = settings.classify
        self.events: list[EmotionEvent] = []
        self.maker = EventMaker(
            stream_id="clip",
            epoch=0,
            manifest=by.manifest,
            smoother=EmotionSmoother(time_constant_seconds=classify.smoothing_seconds),
            hysteresis=EmotionHysteresis(hold_seconds=classify.hold_seconds, margin=classify.switch_margin),
        )
        self._by = by

    def add(self, chunk: FollowedChunk) -> None:
        classified = Classified(self._by.classify(chunk.crops), 0.0, 0.0)
        self.events += self.maker.events_from(ScoredChunk(chunk, classified), now=utc_now())


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return round(float(np.mean(listed)), 4) if listed else 0.0
