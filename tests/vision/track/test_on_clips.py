"""Real detector, real clips: one person is one track, from the first frame to the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emostream.cli.bench.agreement import measure_agreement, plain_settings
from emostream.config import DetectSettings, Settings, TrackSettings
from emostream.domain.frame import Frame
from emostream.vision.track.follower import FaceFollower
from tests.vision.detect.real_model import centerface_path, real_detector
from tests.vision.track.clips import frames_of

CLIPS = [
    # clip, smallest face, people, frames in which they can be seen
    ("one-face-640x360.mp4", 32, 1, 72),
    ("three-people-480x270.mp4", 32, 3, 164),
    ("two-people-head-pose-480x270.mp4", 32, 2, 224),
    ("classroom-small-faces-480x270.mp4", 20, 4, 180),
    ("face-then-no-face-960x540-hevc.mov", 32, 1, 72),
    ("no-face-960x540.mp4", 32, 0, 0),
]
# A weak detection continues a track; only a good one starts it.
MIN_SCORE, SETTINGS = 0.3, TrackSettings(confirm_score=0.5)
DETECTIONS_PER_SECOND = 6.0


@pytest.mark.heavy
@pytest.mark.parametrize("detections_per_second", [DETECTIONS_PER_SECOND, 1e6], ids=["sparse", "every frame"])
@pytest.mark.parametrize(("clip", "min_face_pixels", "num_people", "num_frames_with_faces"), CLIPS)
def test_one_track_per_person(
    shared_videos: Path,
    clip: str,
    min_face_pixels: int,
    num_people: int,
    num_frames_with_faces: int,
    detections_per_second: float,
) -> None:
    detector = real_detector(min_face_pixels=min_face_pixels, min_score=MIN_SCORE)
    follower = FaceFollower(detector.detect, settings=SETTINGS, detections_per_second=detections_per_second)
    frames_per_track: Counter[int | None] = Counter()
    for frame in frames_of(shared_videos / clip):
        frames_per_track.update(face.track_id for face in follower.follow(frame).faces)
    assert len(frames_per_track) == num_people
    # A face may be found a few frames after it came into view, and be followed a few frames after it left.
    assert all(abs(count / num_frames_with_faces - 1) <= 0.03 for count in frames_per_track.values())


def sampled(frames: Sequence[Frame], frame_seconds: float) -> list[Frame]:
    """One frame for each so many seconds."""
    taken: list[Frame] = []
    for frame in frames:
        if frame.pts_seconds >= len(taken) * frame_seconds - 1e-6:
            taken.append(frame)
    return taken


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("clip", "num_people"),
    [("one-face-640x360.mp4", 1), ("three-people-480x270.mp4", 3), ("two-people-head-pose-480x270.mp4", 2)],
)
def test_one_track_per_person_at_any_rate_and_over_bad_pictures(
    shared_videos: Path, clip: str, num_people: int
) -> None:
    detect = real_detector(min_score=MIN_SCORE).detect
    frames = list(frames_of(shared_videos / clip))
    without_two_seconds = [frame for frame in frames if not 0.5 <= frame.pts_seconds < 2.0]
    runs = {f"every {seconds} s": sampled(frames, seconds) for seconds in (0.2, 1.0, 1.25, 2.5)}
    for name, level in (("black", 16), ("white", 235), ("gray", 128)):
        bad = replace(frames[20], luma=np.full_like(frames[20].luma, level))
        runs[name] = [*frames[:20], bad, *frames[21:]]
    runs["gap"] = without_two_seconds
    for name, pictures in runs.items():
        follower = FaceFollower(detect, settings=SETTINGS, detections_per_second=DETECTIONS_PER_SECOND)
        ids = {face.track_id for frame in pictures for face in follower.follow(frame).faces}
        assert len(ids) == num_people, name


@pytest.mark.heavy
@pytest.mark.parametrize(("clip", "min_face_pixels"), [(clip, pixels) for clip, pixels, people, _ in CLIPS if people])
def test_following_agrees_with_detecting_every_frame(
    shared_videos: Path, clip: str, min_face_pixels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    centerface_path()  # skips where there is no detector
    settings = plain_settings(Settings(detect=DetectSettings(min_face_pixels=min_face_pixels)))
    agreement = measure_agreement(shared_videos / clip, settings=settings.model_copy(update={"track": SETTINGS}))
    with capsys.disabled():
        print(f"\n{agreement}")
    assert agreement.mean_iou >= 0.8
    # Faces of 15–23 pixels (the classroom): two detections of a still face differ by as much, so the median is held.
    is_tiny = clip.startswith("classroom")
    assert (agreement.median_landmark_error if is_tiny else agreement.mean_landmark_error) <= 0.05
    assert agreement.longest_loss_seconds <= 1 / DETECTIONS_PER_SECOND


@pytest.mark.heavy
@pytest.mark.parametrize("clip", [clip for clip, pixels, people, _ in CLIPS if people and pixels >= 32])
def test_the_fast_path_says_what_the_plain_path_says(
    shared_videos: Path, clip: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """INT8, searching by need and following, beside every frame searched in FP32."""
    centerface_path()
    agreement = measure_agreement(shared_videos / clip, settings=Settings())
    with capsys.disabled():
        print(f"\n{agreement}")
    assert agreement.same_dominant_share >= 0.97
    assert agreement.mean_iou >= 0.8
    assert agreement.num_missing == 0
