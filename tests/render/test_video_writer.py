"""Annotated videos: right pictures at the right times, or no file at all."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from emostream.errors import ConfigError
from emostream.render.video_writer import VideoWriter


def _gray(level: int, *, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def _decode(path: Path) -> list[tuple[float, float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [(float(frame.time or 0), float(frame.to_ndarray(format="gray").mean())) for frame in frames]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_pictures_and_irregular_times_are_kept(tmp_path: Path, name: str) -> None:
    times = [0.0, 0.04, 0.20, 0.24, 1.0]
    with VideoWriter(tmp_path / name) as writer:
        for index, seconds in enumerate(times):
            writer.write(_gray(40 + 40 * index), pts_seconds=seconds)

    decoded = _decode(tmp_path / name)
    # Matroska keeps milliseconds; x264 at crf 20 keeps a flat gray within a few levels.
    assert [seconds for seconds, _ in decoded] == pytest.approx(times, abs=0.001)
    assert [level for _, level in decoded] == pytest.approx([40, 80, 120, 160, 200], abs=4)


def test_odd_sizes_and_a_change_of_size_are_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4") as writer:
        writer.write(_gray(100, height=33, width=47), pts_seconds=0)
        writer.write(_gray(100, height=66, width=94), pts_seconds=0.1)
    assert len(_decode(tmp_path / "odd.mp4")) == 2


def test_one_pixel_is_a_video_too(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "pixel.mp4") as writer:
        writer.write(_gray(100, height=1, width=1), pts_seconds=0)
    assert len(_decode(tmp_path / "pixel.mp4")) == 1


def test_a_missing_folder_and_an_unknown_ending_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="writable folder"):
        VideoWriter(tmp_path / "missing" / "out.mp4")
    with pytest.raises(ConfigError, match=r"\.mp4, \.mkv or \.mov"):
        VideoWriter(tmp_path / "out.gif")


def test_an_error_in_between_keeps_the_frames_before_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "out.mp4") as writer:
        writer.write(_gray(100), pts_seconds=0)
        raise RuntimeError("the source broke")
    assert len(_decode(tmp_path / "out.mp4")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_nothing_written_leaves_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "out.mp4").close()
    assert list(tmp_path.iterdir()) == []
