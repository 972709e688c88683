"""Real detector, real clips: one person is one track, from the first frame to the last."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from emostream.config import TrackSettings
from emostream.track.follower import FaceFollower
from tests.detect.real_model import real_detector
from tests.track.clips import frames_of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clip", "min_face_pixels", "num_people", "num_frames_with_faces"),
    [
        ("one-face-640x360.mp4", 32, 1, 72),
        ("three-people-480x270.mp4", 32, 3, 164),
        ("two-people-head-pose-480x270.mp4", 32, 2, 224),
        ("classroom-small-faces-480x270.mp4", 20, 4, 180),
        ("face-then-no-face-960x540-hevc.mov", 32, 1, 72),
        ("no-face-960x540.mp4", 32, 0, 0),
    ],
)
def test_one_track_per_person(
    shared_videos: Path, clip: str, min_face_pixels: int, num_people: int, num_frames_with_faces: int
) -> None:
    detector = real_detector(min_face_pixels=min_face_pixels, min_score=0.3)
    follower = FaceFollower(detector.detect, settings=TrackSettings(confirm_score=0.5))
    frames_per_track: Counter[int | None] = Counter()
    for frame in frames_of(shared_videos / clip):
        frames_per_track.update(face.track_id for face in follower.follow(frame).faces)
    assert len(frames_per_track) == num_people
    # A face may be found a few frames after it came into view.
    assert all(count >= 0.97 * num_frames_with_faces for count in frames_per_track.values())
