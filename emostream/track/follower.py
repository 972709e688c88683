"""From frames to faces with track ids: when to search, and who is who."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from emostream.config import TrackSettings
from emostream.face import Face
from emostream.frame import Frame, Luma
from emostream.track.tracker import FaceTracker


@dataclass(frozen=True, slots=True)
class FollowedFaces:
    """The faces of one frame.

    Attributes:
        faces: each with its track id, in order of track id.
        ended_track_ids: tracks that will not come back; drop what is kept for them.
        was_detected: whether the detector searched this frame.
        detect_seconds: time spent in the detector.
        follow_seconds: time spent on everything else.
    """

    faces: tuple[Face, ...]
    ended_track_ids: tuple[int, ...]
    was_detected: bool
    detect_seconds: float
    follow_seconds: float


class FaceFollower:
    """Follows all faces of one stream. Called from one thread at a time, frame by frame in order.

    Args:
        detect: finds the faces in a gray picture, weak ones included; shared between streams, so thread-safe.
        settings: how faces are followed.
        clock: monotonic seconds, for the figures only.
    """

    def __init__(
        self,
        detect: Callable[[Luma], list[Face]],
        *,
        settings: TrackSettings,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._detect = detect
        self._clock = clock
        self._tracker = FaceTracker(
            max_lost_seconds=settings.max_lost_seconds,
            min_iou=settings.min_iou,
            confirm_score=settings.confirm_score,
        )

    def follow(self, frame: Frame) -> FollowedFaces:
        """The faces of the next frame.

        Raises:
            InferenceError: the detector could not search this frame.
        """
        started = self._clock()
        detections = self._detect(frame.luma)
        detected = self._clock()
        update = self._tracker.update(detections, pts_seconds=frame.pts_seconds)
        return FollowedFaces(
            faces=update.faces,
            ended_track_ids=update.ended_track_ids,
            was_detected=True,
            detect_seconds=detected - started,
            follow_seconds=self._clock() - detected,
        )
