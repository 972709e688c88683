"""How well following agrees with a detection on every frame of the same clip.

    python -m tests.track.agreement CLIP…

prints a line per clip; `test_on_clips.py` holds the figures to their bars.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emostream.boxes import iou_matrix
from emostream.config import TrackSettings
from emostream.detect.detector import FaceDetector
from emostream.face import Face
from emostream.frame import Frame
from emostream.track.follower import FaceFollower, FollowedFaces
from tests.detect.real_model import real_detector
from tests.track.clips import frames_of

_EVERY_FRAME = 1e6
_SAME_FACE_IOU = 0.3


@dataclass(frozen=True)
class Agreement:
    """Sparse against dense detection, over the faces that were followed (not detected) in the sparse run.

    Attributes:
        ious: of each followed box with the detected one.
        landmark_errors: mean distance of the five landmarks, in eye distances.
        lost_seconds: for each run of frames in which a detected face is missing, how long it lasted.
        detections_per_second: of the sparse run.
        milliseconds_dense, milliseconds_sparse: detector and follower, mean per frame.
        milliseconds_followed: median of a frame without detection.
    """

    ious: Sequence[float]
    landmark_errors: Sequence[float]
    lost_seconds: Sequence[float]
    detections_per_second: float
    milliseconds_dense: float
    milliseconds_sparse: float
    milliseconds_followed: float

    def __str__(self) -> str:
        return (
            f"IoU mean {np.mean(self.ious):.3f}, landmark error mean {np.mean(self.landmark_errors):.3f} "
            f"median {np.median(self.landmark_errors):.3f}, lost at most {max(self.lost_seconds, default=0):.2f} s, "
            f"{self.detections_per_second:.1f} detections/s, ms per frame {self.milliseconds_dense:.1f} dense, "
            f"{self.milliseconds_sparse:.1f} sparse, {self.milliseconds_followed:.2f} when only followed"
        )


def measure_agreement(
    detector: FaceDetector, frames: Sequence[Frame], *, settings: TrackSettings, detections_per_second: float
) -> Agreement:
    """Run both ways over the same frames and compare."""
    dense = _run(detector, frames, settings=settings, detections_per_second=_EVERY_FRAME)
    sparse = _run(detector, frames, settings=settings, detections_per_second=detections_per_second)
    ious, landmark_errors, lost_seconds = [], [], []
    missing_since: dict[int | None, float] = {}
    for frame, expected, actual in zip(frames, dense, sparse, strict=True):
        for face in expected.faces:
            partner, iou = _partner(face, actual.faces)
            if partner is None:
                lost_seconds.append(frame.pts_seconds - missing_since.setdefault(face.track_id, frame.pts_seconds))
                continue
            missing_since.pop(face.track_id, None)
            if partner.found_by == "flow":
                ious.append(iou)
                landmark_errors.append(_landmark_error(face, partner))
    duration = frames[-1].pts_seconds - frames[0].pts_seconds
    return Agreement(
        ious=ious,
        landmark_errors=landmark_errors,
        lost_seconds=lost_seconds,
        detections_per_second=sum(found.was_detected for found in sparse) / duration,
        milliseconds_dense=_milliseconds(dense),
        milliseconds_sparse=_milliseconds(sparse),
        milliseconds_followed=1000 * float(np.median([f.follow_seconds for f in sparse if not f.was_detected])),
    )


def _run(
    detector: FaceDetector, frames: Sequence[Frame], *, settings: TrackSettings, detections_per_second: float
) -> list[FollowedFaces]:
    follower = FaceFollower(detector.detect, settings=settings, detections_per_second=detections_per_second)
    return [follower.follow(frame) for frame in frames]


def _partner(face: Face, others: Sequence[Face]) -> tuple[Face | None, float]:
    if not others:
        return None, 0.0
    iou = iou_matrix(np.array([face.box_xyxy]), np.array([other.box_xyxy for other in others]))[0]
    best = int(iou.argmax())
    return (others[best], float(iou[best])) if iou[best] >= _SAME_FACE_IOU else (None, 0.0)


def _landmark_error(face: Face, other: Face) -> float:
    points, others = np.array(face.landmarks), np.array(other.landmarks)
    return float(np.linalg.norm(points - others, axis=1).mean() / np.linalg.norm(points[0] - points[1]))


def _milliseconds(followed: Sequence[FollowedFaces]) -> float:
    return 1000 * float(np.mean([found.detect_seconds + found.follow_seconds for found in followed]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--min-face-pixels", type=int, default=32)
    parser.add_argument("--detections-per-second", type=float, default=6.0)
    arguments = parser.parse_args()
    detector = real_detector(min_face_pixels=arguments.min_face_pixels, min_score=0.3)
    for clip in arguments.clips:
        agreement = measure_agreement(
            detector,
            list(frames_of(clip)),
            settings=TrackSettings(confirm_score=0.5),
            detections_per_second=arguments.detections_per_second,
        )
        print(f"{clip.name}: {agreement}")


if __name__ == "__main__":
    main()
