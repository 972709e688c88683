"""Makes events from chunks of classified frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from emostream.domain.affect import derived_affect
from emostream.domain.emotion import EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.domain.face import Face
from emostream.domain.frame import Frame
from emostream.domain.model_manifest import ModelManifest
from emostream.domain.zones import Zone, zones_of
from emostream.pipeline.chunk import ScoredChunk
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.quality import Quality, quality_of
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.geometry.head_pose import head_poses

_Pose = tuple[float, float, float]
"""Yaw, pitch and roll in degrees."""

# A face whose dominant emotion leads by less may change it with its next crop.
_DECIDED_LEAD = 0.4


@dataclass(frozen=True, slots=True)
class _Known:
    """The last probabilities of a track that the model computed, and the quality of that crop."""

    probabilities: npt.NDArray[np.float64]
    quality: Quality
    at_seconds: float


class EventMaker:
    """Makes the events of one stream from its chunks, in order. Keeps the last result of each track.

    A face whose crop was not chosen gets the mean of the probabilities before and after it, weighted by time, where
    both are known by then; else those before.

    Args:
        stream_id, epoch: part of every event.
        manifest: of the classifier's model.
        smoother: smooths the probabilities of each track.
        hysteresis: names the dominant emotion of each track; None takes the most probable one of each frame.
        zones: named parts of the picture.
    """

    def __init__(
        self,
        *,
        stream_id: str,
        epoch: int,
        manifest: ModelManifest,
        smoother: EmotionSmoother,
        hysteresis: EmotionHysteresis | None = None,
        zones: Sequence[Zone] = (),
    ) -> None:
        self._stream_id = stream_id
        self._epoch = epoch
        self._manifest = manifest
        self._smoother = smoother
        self._hysteresis = hysteresis
        self._zones = tuple(zones)
        self._last: dict[int | None, FaceEmotion] = {}
        self._known: dict[int | None, _Known] = {}
        self.undecided: frozenset[int | None] = frozenset()
        """Tracks of the last classified frame whose dominant emotion may change with the next crop."""

    def events_from(self, scored: ScoredChunk, *, now: datetime) -> list[EmotionEvent]:
        """Make one event per frame, in order.

        Args:
            scored: the chunk with its probabilities.
            now: wall clock time, aware UTC; the end of the measured latency.
        """
        chunk = scored.chunk
        poses = _head_poses([face for found in chunk.followed for face in found.faces])
        results, turned = self._results_of(scored, poses), iter(poses)
        wait_ms = 1000 * scored.classified.wait_seconds
        classify_ms = 1000 * scored.classified.compute_seconds / len(chunk.frames)
        events = []
        for position, (frame, found) in enumerate(zip(chunk.frames, chunk.followed, strict=True)):
            is_classified = chunk.is_classified[position]
            if is_classified:
                faces = tuple(
                    self._scored(face, *next(results), frame=frame, pose=next(turned)) for face in found.faces
                )
                self._last = {face.face.track_id: face for face in faces}
                self.undecided = frozenset(face.face.track_id for face in faces if _is_undecided(face))
            else:
                faces = tuple(self._repeated(face, frame=frame, pose=next(turned)) for face in found.faces)
            self._forget(found.ended_track_ids)
            events.append(
                EmotionEvent(
                    stream_id=self._stream_id,
                    epoch=self._epoch,
                    frame_index=frame.frame_index,
                    pts_seconds=frame.pts_seconds,
                    captured_at=frame.captured_at,
                    frame_width=frame.stored_width,
                    frame_height=frame.stored_height,
                    pixel_aspect=frame.pixel_aspect,
                    model_name=self._manifest.name,
                    model_version=self._manifest.version,
                    faces=faces,
                    latency_ms={
                        "detect": 1000 * found.detect_seconds,
                        "follow": 1000 * found.follow_seconds,
                        "wait": wait_ms,
                        "classify": classify_ms,
                        "total": 1000 * (now - frame.captured_at).total_seconds(),
                    },
                    num_dropped=chunk.num_dropped if position == 0 else 0,
                    is_classified=is_classified,
                )
            )
        return events

    def _results_of(self, scored: ScoredChunk, poses: Sequence[_Pose]) -> Iterator[tuple[_Known, bool]]:
        """For each face of the classified frames, in order: its result, and whether its own crop was classified."""
        chunk, turned = scored.chunk, iter(poses)
        faces = [
            (face, frame, pose)
            for frame, found, due in zip(chunk.frames, chunk.followed, chunk.is_classified, strict=True)
            for face, pose in zip(found.faces, turned, strict=False)
            if due
        ]
        rows = iter(zip(chunk.crops, chunk.covered, scored.classified.probabilities, strict=True))
        results: list[_Known] = []
        waiting: dict[int | None, list[int]] = {}
        for index, ((face, frame, (yaw, pitch, _)), is_chosen) in enumerate(zip(faces, chunk.is_chosen, strict=True)):
            if not is_chosen:
                results.append(self._known[face.track_id])
                waiting.setdefault(face.track_id, []).append(index)
                continue
            crop, covered, probabilities = next(rows)
            quality = quality_of(
                face,
                crop,
                frame_width=frame.width,
                frame_height=frame.height,
                yaw_degrees=yaw,
                pitch_degrees=pitch,
                covered=covered,
            )
            new = _Known(probabilities.astype(np.float64), quality, frame.pts_seconds)
            results.append(new)
            for earlier in waiting.pop(face.track_id, ()):
                results[earlier] = _between(results[earlier], new, at_seconds=faces[earlier][1].pts_seconds)
            self._known[face.track_id] = new
        return iter(list(zip(results, chunk.is_chosen, strict=True)))

    def _forget(self, ended_track_ids: Sequence[int]) -> None:
        self._smoother.forget(ended_track_ids)
        for track_id in ended_track_ids:
            self._known.pop(track_id, None)
        if self._hysteresis is not None:
            self._hysteresis.forget(ended_track_ids)

    def _scored(self, face: Face, known: _Known, is_classified: bool, *, frame: Frame, pose: _Pose) -> FaceEmotion:
        if face.track_id is None:
            raise ValueError("expected a face with a track id; the follower gives one to every face")
        labels, pts_seconds = self._manifest.labels, frame.pts_seconds
        probabilities, quality = known.probabilities, known.quality
        smoothed = tuple(self._smoother.smooth(face.track_id, probabilities, pts_seconds=pts_seconds).tolist())
        dominant = ""
        if self._hysteresis is not None:
            dominant = self._hysteresis.name(
                face.track_id, smoothed, labels=labels, is_readable=quality.is_readable, pts_seconds=pts_seconds
            )
        yaw, pitch, roll = pose
        valence, arousal = derived_affect(labels, smoothed) or (None, None)
        return FaceEmotion(
            face=frame.face_in_stored_pixels(face),
            scores=EmotionScores(labels, tuple(probabilities.tolist())),
            smoothed=EmotionScores(labels, smoothed),
            quality=quality.flags,
            dominant=dominant,
            zones=self._zones_of(face, frame),
            yaw_degrees=yaw,
            pitch_degrees=pitch,
            roll_degrees=roll,
            derived_valence=valence,
            derived_arousal=arousal,
            is_classified=is_classified,
        )

    def _repeated(self, face: Face, *, frame: Frame, pose: _Pose) -> FaceEmotion:
        """The face at its new position with its last classified scores."""
        yaw, pitch, roll = pose
        return replace(
            self._last[face.track_id],
            face=frame.face_in_stored_pixels(face),
            zones=self._zones_of(face, frame),
            yaw_degrees=yaw,
            pitch_degrees=pitch,
            roll_degrees=roll,
            is_classified=False,
        )

    def _zones_of(self, face: Face, frame: Frame) -> tuple[str, ...]:
        if not self._zones:
            return ()
        return zones_of(face.box_xyxy, self._zones, frame_width=frame.width, frame_height=frame.height)


def _head_poses(faces: Sequence[Face]) -> list[_Pose]:
    poses = head_poses(np.array([face.landmarks for face in faces], dtype=np.float64).reshape(-1, 5, 2))
    return [(yaw, pitch, roll) for yaw, pitch, roll in (np.round(poses, 1) + 0.0).tolist()]  # no −0


def _between(before: _Known, after: _Known, *, at_seconds: float) -> _Known:
    """The result at a time between two others; the quality is that of the earlier one."""
    whole = after.at_seconds - before.at_seconds
    weight = (at_seconds - before.at_seconds) / whole if whole > 0 else 0.0
    probabilities = before.probabilities + weight * (after.probabilities - before.probabilities)
    return replace(before, probabilities=probabilities)


def _is_undecided(face: FaceEmotion) -> bool:
    """Whether the dominant emotion leads little, in this frame or in the recent past."""
    if face.dominant not in face.smoothed.labels:
        return False
    place = face.smoothed.labels.index(face.dominant)
    return any(
        scores.probabilities[place] - max(scores.probabilities[:place] + scores.probabilities[place + 1 :], default=0.0)
        < _DECIDED_LEAD
        for scores in (face.smoothed, face.scores)
    )
