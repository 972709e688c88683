"""MPEG streams whose clock jumps: recordings put together, encoders that began again. They have no index."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from emostream.cli.live_table import expected_frames
from emostream.config import DecodeSettings
from emostream.decode.mono_sound import SAMPLE_RATE_HZ, MonoSound
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.resuming import ResumePoint
from emostream.decode.source import SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from tests.media import Pixels, http_server, make_clip

FPS, NUM_EACH = 25, 50
_WIDTH, _HEIGHT = 160, 96
SETTINGS = DecodeSettings()
OFFSETS = [
    pytest.param((0, 5000), id="ahead"),
    pytest.param((5000, 0), id="back"),
    pytest.param((0, 5000, 9000), id="twice ahead"),
    pytest.param((0, 5000, 2), id="ahead and back"),
    pytest.param((0, 90), id="ahead by a minute and a half"),
    pytest.param((1, 0, 1, 0), id="the same again"),
    pytest.param((0, 80_000), id="nearly round"),
]


def make_recordings(path: Path, offsets: tuple[float, ...], *, audio: bool = False) -> Path:
    """Recordings with clocks of their own, one after the other."""
    codec = "libx264" if path.suffix == ".ts" else "mpeg2video"
    content = b""
    for number, offset in enumerate(offsets):
        part = make_clip(
            path.with_stem(f"part{number}"),
            num_frames=NUM_EACH,
            codec=codec,
            audio=audio,
            width=_WIDTH,
            height=_HEIGHT,
            picture=partial(_picture, number),
            mux_options={"output_ts_offset": str(offset)},
        )
        content += part.read_bytes()
    path.write_bytes(content)
    return path


def _picture(number: int, index: int) -> Pixels:
    """Noise, so that there is enough of it for a clock, below a level that tells the picture."""
    noise = np.random.default_rng(index).integers(60, 200, (_HEIGHT, _WIDTH), dtype=np.uint8)
    noise[:16, :16] = 30 + 40 * number + index % 30
    return noise


def read(url: str, point: ResumePoint | None = None) -> tuple[list[Frame], SourceInfo]:
    source = PyAVSource(StreamSpec("x", url, StreamKind.FILE), settings=SETTINGS)
    if point is not None:
        source.resume_near(point, warm_up_seconds=0.5)
    with source:
        return list(source), source.info


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("offsets", OFFSETS)
def test_time_goes_on_and_the_length_is_that_of_the_pictures(
    tmp_path: Path, suffix: str, offsets: tuple[float, ...]
) -> None:
    clip = make_recordings(tmp_path / f"clip{suffix}", offsets)
    frames, info = read(str(clip))
    num_frames = NUM_EACH * len(offsets)
    times = np.array([frame.pts_seconds for frame in frames])
    assert len(frames) == num_frames
    assert times[-1] == pytest.approx((num_frames - 1) / FPS, abs=0.1)
    assert np.diff(times).max() < 0.1
    if offsets != (1, 0, 1, 0):  # jumps of less than a minute count as reception that was lost
        assert info.duration_seconds == pytest.approx(num_frames / FPS, rel=0.15)
        source = PyAVSource(StreamSpec("x", str(clip), StreamKind.FILE), settings=SETTINGS)
        with source:
            assert expected_frames(source._spec, source) == pytest.approx(num_frames, rel=0.15)


@pytest.mark.parametrize("offsets", OFFSETS)
@pytest.mark.parametrize("at", [20, 70, -3])
def test_it_goes_on_at_the_same_picture(tmp_path: Path, offsets: tuple[float, ...], at: int) -> None:
    clip = make_recordings(tmp_path / "clip.ts", offsets)
    whole, _ = read(str(clip))
    known = whole[at]
    rest, _ = read(str(clip), ResumePoint(known.frame_index, round(known.pts_seconds, 6)))

    def shown(frames: list[Frame]) -> list[tuple[int, float, int]]:
        return [(one.frame_index, round(one.pts_seconds, 6), int(one.luma[0, 0])) for one in frames]

    assert rest[0].frame_index <= known.frame_index
    assert shown(rest) == shown(whole)[rest[0].frame_index :]


@pytest.mark.parametrize("offsets", [(0, 5000), (5000, 0)])
def test_over_http_a_length_that_cannot_be_is_unknown(tmp_path: Path, offsets: tuple[float, ...]) -> None:
    make_recordings(tmp_path / "clip.ts", offsets)
    with http_server(tmp_path) as base:
        frames, info = read(f"{base}/clip.ts")
    assert len(frames) == 2 * NUM_EACH
    assert info.duration_seconds is None and info.num_frames is None


@pytest.mark.parametrize("offsets", [(0, 5000), (5000, 0)])
def test_its_sound_goes_on_with_the_pictures(tmp_path: Path, offsets: tuple[float, ...]) -> None:
    clip = make_recordings(tmp_path / "clip.ts", offsets, audio=True)
    _, info = read(str(clip))
    with MonoSound(str(clip), settings=SETTINGS, zero_seconds=info.zero_seconds or 0.0) as sound:
        num_samples = sum(len(samples) for samples in sound.samples_until(float("inf")))
    assert num_samples / SAMPLE_RATE_HZ == pytest.approx(2 * NUM_EACH / FPS, abs=0.3)
    assert sound.stats.num_discontinuities == 1


@pytest.mark.parametrize("offset", [7200, 90_000])
def test_a_matroska_file_whose_clock_was_running_lasts_as_long_as_its_pictures(tmp_path: Path, offset: int) -> None:
    clip = make_clip(tmp_path / "clip.mkv", num_frames=NUM_EACH, mux_options={"output_ts_offset": str(offset)})
    frames, info = read(str(clip))
    assert frames[-1].pts_seconds == pytest.approx((NUM_EACH - 1) / FPS, abs=0.01)
    assert info.duration_seconds == pytest.approx(NUM_EACH / FPS, abs=0.01)
    assert info.num_frames == NUM_EACH
