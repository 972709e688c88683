"""Annotated videos: right pictures at the right times, or no file at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from emostream.errors import ConfigError
from emostream.render.video_writer import VideoWriter
from tests.media import make_audio


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
    with pytest.raises(ConfigError):
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


class BrokenSound:
    """Two packets, then an error."""

    def __init__(self, path: Path) -> None:
        self.container = av.open(str(path))
        self.stream = self.container.streams.audio[0]
        self._packets = self.container.demux(self.stream)
        self._num_given = 0

    def packets_until(self, seconds: float) -> Iterator[Any]:
        """One packet at a time."""
        self._num_given += 1
        if self._num_given == 3:
            raise ValueError("the sound broke")
        yield next(self._packets)


def test_sound_that_breaks_ends_and_the_pictures_go_on(tmp_path: Path) -> None:
    sound = BrokenSound(make_audio(tmp_path / "sound.m4a"))
    with sound.container, VideoWriter(tmp_path / "out.mp4") as writer:
        writer.follow_source(declared_fps=25, sound=sound)
        for index in range(10):
            writer.write(_gray(100), pts_seconds=index / 25)
    assert len(_decode(tmp_path / "out.mp4")) == 10
    assert "0.1 s" in writer.sound_description
    assert writer.sound_description.endswith("the sound broke")


def test_colours_stay(tmp_path: Path) -> None:
    for name, height in (("sd.mp4", 48), ("hd.mp4", 720)):
        picture = np.zeros((height, 64, 3), np.uint8)
        picture[:] = (200, 40, 60)
        with VideoWriter(tmp_path / name) as writer:
            writer.write(picture, pts_seconds=0)
        with av.open(str(tmp_path / name)) as container:
            frame = next(container.decode(video=0))
        assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - picture).max() <= 6
        assert frame.colorspace == (1 if height == 720 else 6), "and says which kind they are of"
