"""Frames on their way through the pipeline together, and how scored ones become events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from emostream.classify.classifier import Classified
from emostream.classify.manifest import ModelManifest
from emostream.emotion import EmotionScores
from emostream.event import EmotionEvent, FaceEmotion
from emostream.face import Face
from emostream.frame import Frame
from emostream.track.dominance import DominantEmotion
from emostream.track.follower import FollowedFaces
from emostream.track.quality import quality_flags
from emostream.track.smoothing import EmotionSmoother
from emostream.zones import Zone, zones_of


@dataclass(frozen=True, slots=True, eq=False)
class FollowedChunk:
    """Consecutive frames with their faces.

    Attributes:
        frames: in order.
        followed: the faces of each frame.
        crops: uint8, n×S×S, the crops of all faces, frame by frame.
        crop_seconds: time it took to cut them.
        num_dropped: frames lost before the first of these.
    """

    frames: Sequence[Frame]
    followed: Sequence[FollowedFaces]
    crops: npt.NDArray[np.uint8]
    crop_seconds: float
    num_dropped: int


@dataclass(frozen=True, slots=True, eq=False)
class ScoredChunk:
    """A chunk with the probabilities of its crops, one row each."""

    chunk: FollowedChunk
    classified: Classified


def events_from_chunk(
    scored: ScoredChunk,
    *,
    stream_id: str,
    epoch: int,
    manifest: ModelManifest,
    smoother: EmotionSmoother,
    now: datetime,
    dominance: DominantEmotion | None = None,
    zones: Sequence[Zone] = (),
) -> list[EmotionEvent]:
    """One event per frame, in order; advances the smoother and the naming of the dominant emotion.

    Without `dominance` the most probable emotion of each frame is the dominant one.
    """
    chunk = scored.chunk
    rows = iter(zip(chunk.crops, scored.classified.probabilities, strict=True))
    wait_ms = 1000 * scored.classified.wait_seconds
    classify_ms = 1000 * scored.classified.compute_seconds / len(chunk.frames)
    events = []
    for position, (frame, found) in enumerate(zip(chunk.frames, chunk.followed, strict=True)):
        faces = tuple(
            _face_emotion(
                face,
                *next(rows),
                labels=manifest.labels,
                smoother=smoother,
                dominance=dominance,
                frame=frame,
                zones=zones,
            )
            for face in found.faces
        )
        smoother.forget(found.ended_track_ids)
        if dominance is not None:
            dominance.forget(found.ended_track_ids)
        events.append(
            EmotionEvent(
                stream_id=stream_id,
                epoch=epoch,
                frame_index=frame.frame_index,
                pts_seconds=frame.pts_seconds,
                captured_at=frame.captured_at,
                frame_width=frame.width,
                frame_height=frame.height,
                model_name=manifest.name,
                model_version=manifest.version,
                faces=faces,
                latency_ms={
                    "detect": 1000 * found.detect_seconds,
                    "follow": 1000 * found.follow_seconds,
                    "wait": wait_ms,
                    "classify": classify_ms,
                    "total": 1000 * (now - frame.captured_at).total_seconds(),
                },
                num_dropped=chunk.num_dropped if position == 0 else 0,
            )
        )
    return events


def _face_emotion(
    face: Face,
    crop: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    *,
    labels: tuple[str, ...],
    smoother: EmotionSmoother,
    dominance: DominantEmotion | None,
    frame: Frame,
    zones: Sequence[Zone],
) -> FaceEmotion:
    if face.track_id is None:
        raise ValueError("expected a face with a track id; the follower gives one to every face")
    smoothed = tuple(smoother.smooth(face.track_id, probabilities, pts_seconds=frame.pts_seconds).tolist())
    quality = quality_flags(face, crop)
    dominant = ""
    if dominance is not None:
        dominant = dominance.name(
            face.track_id, smoothed, labels=labels, quality=quality, pts_seconds=frame.pts_seconds
        )
    return FaceEmotion(
        face=face,
        scores=EmotionScores(labels, tuple(probabilities.tolist())),
        smoothed=EmotionScores(labels, smoothed),
        quality=quality,
        dominant=dominant,
        zones=zones_of(face.box_xyxy, zones, frame_width=frame.width, frame_height=frame.height),
    )
