"""Assigns stable track ids to detected faces, by motion and overlap."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emostream.domain.face import BoxXyxy, Face
from emostream.vision.track.association import associate
from emostream.vision.track.motion import BoxMotion, correct, motion_from_box, predict

# A weak detection is more often a false one, so it may continue only a track that was seen recently.
_MAX_WEAK_GAP_SECONDS = 0.5
# Over a longer distance between frames, the last place of a face says as much as its motion.
_MIN_PAUSE_SECONDS = 0.7


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """The result of one frame.

    Attributes:
        faces: the faces that belong to a track, with `track_id`, in order of track id.
        ended_track_ids: tracks that will not come back.
    """

    faces: tuple[Face, ...]
    ended_track_ids: tuple[int, ...]


@dataclass(slots=True)
class Track:
    """The state of a track; internal to `FaceTracker`.

    Attributes:
        track_id: never reused.
        motion: state of the motion filter at the last detection.
        seen_at_seconds: time of that detection, or of the last frame to which the face was followed.
        moved_to: where it was followed since the last detection, or None.
        is_missed: whether the last search missed it. Whatever covers a face also moves the flow, so until the next
            detection only the motion filter predicts its position.
        unseen_seconds: time since it was last seen, while frames were processed.
    """

    track_id: int
    motion: BoxMotion
    seen_at_seconds: float
    moved_to: BoxXyxy | None = None
    is_missed: bool = False
    unseen_seconds: float = 0.0

    def predicted(self, *, at_seconds: float) -> BoxMotion:
        """The predicted state. Frames in between count as one step: their sum determines the speed."""
        motion = self.motion
        if self.moved_to is not None:
            motion = correct(predict(motion, at_seconds=self.seen_at_seconds), self.moved_to)
        return predict(motion, at_seconds=at_seconds)

    def see(self, motion: BoxMotion) -> None:
        """Update after a detection."""
        self.motion, self.seen_at_seconds, self.moved_to = motion, motion.at_seconds, None
        self.is_missed, self.unseen_seconds = False, 0.0

    def miss(self) -> None:
        """Update after a search that missed it."""
        self.is_missed, self.moved_to = True, None

    def follow(self, box_xyxy: BoxXyxy, *, at_seconds: float) -> None:
        """Update after following it by optical flow."""
        self.seen_at_seconds, self.unseen_seconds = at_seconds, 0.0
        if not self.is_missed:
            self.moved_to = box_xyxy


class FaceTracker:
    """Assigns track ids. One per stream; not thread-safe; time is a parameter.

    Boxes are predicted by their motion and matched to detections in two stages, good detections first, then weak ones
    to the remaining tracks (ByteTrack, Zhang et al. 2022, arXiv:2110.06864): a face that turns away or is half covered
    keeps its id, and a weak false detection never starts a track.

    Args:
        max_lost_seconds: a track ends when its face was missing for longer. Frames that are far apart count as half
            of it at most, so that one frame or one gap ends no track at any frame rate.
        min_iou: smallest overlap of a predicted and a detected box of the same face.
        confirm_score: smallest score of a detection that starts a track.
    """

    def __init__(self, *, max_lost_seconds: float = 1.0, min_iou: float = 0.2, confirm_score: float = 0.6) -> None:
        self._max_lost_seconds = max_lost_seconds
        self._min_iou = min_iou
        self._confirm_score = confirm_score
        self._tracks: list[Track] = []
        self._ids = itertools.count()
        self._at_seconds = math.inf
        self._gap_seconds = self._step_seconds = 0.0

    def update(self, faces: Sequence[Face], *, pts_seconds: float) -> TrackUpdate:
        """Match the detections of a frame to the tracks.

        Args:
            faces: detections, weak ones included.
            pts_seconds: time of the frame; must not decrease.
        """
        self._pass_time(pts_seconds)
        good = [face for face in faces if face.score >= self._confirm_score]
        weak = [face for face in faces if face.score < self._confirm_score]

        known, unknown = self._assign(self._tracks, good, pts_seconds=pts_seconds)
        assigned = {face.track_id for face in known}
        recent = [
            track
            for track in self._tracks
            if track.track_id not in assigned and track.unseen_seconds <= max(_MAX_WEAK_GAP_SECONDS, self._step_seconds)
        ]
        weakly_known, _ = self._assign(recent, weak, pts_seconds=pts_seconds)
        assigned |= {face.track_id for face in weakly_known}
        for track in self._tracks:
            if track.track_id not in assigned:
                track.miss()
        started = [self._start(face, pts_seconds=pts_seconds) for face in unknown]
        return TrackUpdate(_by_track([*known, *weakly_known, *started]), self._end_lost())

    def move(self, faces: Sequence[Face], *, pts_seconds: float) -> TrackUpdate:
        """Update tracks in a frame that was followed by optical flow, not searched.

        Args:
            faces: with their `track_id` and new positions.
            pts_seconds: time of the frame; must not decrease.
        """
        self._pass_time(pts_seconds)
        tracks = {track.track_id: track for track in self._tracks}
        known = [face for face in faces if face.track_id in tracks]
        for face in known:
            tracks[face.track_id or 0].follow(face.box_xyxy, at_seconds=pts_seconds)
        return TrackUpdate(_by_track(known), self._end_lost())

    def set_aside(self) -> tuple[Track, ...]:
        """Remove and return all tracks at a scene change; `give_back` restores them."""
        tracks, self._tracks = tuple(self._tracks), []
        return tracks

    def give_back(self, tracks: Iterable[Track]) -> None:
        """Restore tracks that were set aside. The time in between does not count as unseen."""
        self._tracks = list(tracks)

    def _pass_time(self, pts_seconds: float) -> None:
        """Add the time since the last frame to each track's unseen time."""
        self._gap_seconds = max(pts_seconds - self._at_seconds, 0.0)
        self._at_seconds = pts_seconds
        self._step_seconds = min(self._gap_seconds, self._max_lost_seconds / 2)
        for track in self._tracks:
            track.unseen_seconds += self._step_seconds

    def _end_lost(self) -> tuple[int, ...]:
        is_lost = [track.unseen_seconds > self._max_lost_seconds for track in self._tracks]
        if not any(is_lost):
            return ()
        ended = tuple(track.track_id for track in itertools.compress(self._tracks, is_lost))
        self._tracks = [track for track, lost in zip(self._tracks, is_lost, strict=True) if not lost]
        return ended

    def _assign(
        self, tracks: Sequence[Track], faces: Sequence[Face], *, pts_seconds: float
    ) -> tuple[list[Face], list[Face]]:
        """Match faces to tracks and update these. Returns faces with a track id, and faces without a track."""
        predicted = [track.predicted(at_seconds=pts_seconds) for track in tracks]
        boxes = np.array([face.box_xyxy for face in faces], dtype=np.float64).reshape(-1, 4)
        is_pause = self._gap_seconds > _MIN_PAUSE_SECONDS
        pairs = associate(
            predicted,
            boxes,
            min_iou=self._min_iou,
            is_missed=[track.is_missed for track in tracks],
            gap_seconds=self._gap_seconds,
            last_seen=[track.predicted(at_seconds=track.seen_at_seconds) for track in tracks] if is_pause else (),
        )
        known = []
        for track_index, face_index in pairs:
            track = tracks[track_index]
            track.see(correct(predicted[track_index], boxes[face_index]))
            known.append(dataclasses.replace(faces[face_index], track_id=track.track_id))
        paired = {face_index for _, face_index in pairs}
        return known, [face for index, face in enumerate(faces) if index not in paired]

    def _start(self, face: Face, *, pts_seconds: float) -> Face:
        motion = motion_from_box(face.box_xyxy, at_seconds=pts_seconds)
        track = Track(next(self._ids), motion, pts_seconds)
        self._tracks.append(track)
        return dataclasses.replace(face, track_id=track.track_id)


def _by_track(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Sort by track id. Ids increase with time, so the oldest track is first."""
    return tuple(sorted(faces, key=lambda face: face.track_id or 0))
