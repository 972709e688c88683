"""Real clips beside the checkout decode fully."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.decode.conftest import Read


@pytest.mark.parametrize(
    ("name", "num_frames", "size", "codec"),
    [
        ("three-people-480x270.mp4", 164, (480, 270), "h264"),
        ("two-people-head-pose-480x270.mp4", 224, (480, 270), "h264"),
        ("classroom-small-faces-480x270.mp4", 180, (480, 270), "h264"),
        ("one-face-640x360.mp4", 72, (640, 360), "h264"),
        ("face-then-no-face-960x540-hevc.mov", 169, (960, 540), "hevc"),
        ("no-face-960x540.mp4", 95, (960, 540), "h264"),
    ],
)
def test_decodes_fully(
    shared_videos: Path, read: Read, name: str, num_frames: int, size: tuple[int, int], codec: str
) -> None:
    reading = read(shared_videos / name)
    assert reading.error is None
    assert len(reading.frames) == reading.stats.num_decoded == num_frames
    assert reading.stats.num_corrupt == 0
    assert reading.info is not None
    assert (reading.info.width, reading.info.height, reading.info.codec) == (*size, codec)
    assert [frame.frame_index for frame in reading.frames] == list(range(num_frames))
    times = [frame.pts_seconds for frame in reading.frames]
    assert times[0] == 0
    assert times == sorted(set(times))
    assert reading.info.duration_seconds == pytest.approx(times[-1], rel=0.05)
    assert reading.frames[0].rgb().shape == (size[1], size[0], 3)
