"""Missing segments of a playlist are counted and said; what is complete is not accused."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.gaps import GapMeter
from emostream.domain.stream import StreamKind
from emostream.errors import DecodeError
from tests.decode.conftest import Read
from tests.media import gray_level, http_server, video_frame

FPS, GOP = 25, 15
SEGMENT_SECONDS = GOP / FPS
NUM_SEGMENTS = 6
NUM_FRAMES = GOP * NUM_SEGMENTS


def make_playlist(
    folder: Path,
    *,
    segments: str = "mpegts",
    at_seconds: Sequence[float] | None = None,
    key_frames: Sequence[int] | None = None,
    sound_seconds: float = 0.0,
) -> Path:
    """An HLS playlist of segments of one group of pictures each."""
    path = folder / "list.m3u8"
    options = {"hls_time": str(SEGMENT_SECONDS), "hls_list_size": "0", "hls_segment_type": segments}
    times = at_seconds or [index / FPS for index in range(NUM_FRAMES)]
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"bf": "0", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = GOP if key_frames is None else 10_000
        stream.codec_context.time_base = Fraction(1, 1000)
        sound: Any = container.add_stream("aac", rate=48_000, layout="mono") if sound_seconds else None
        for index, at in enumerate(times):
            frame = video_frame(np.full((48, 64), gray_level(index), np.uint8))
            frame.pts, frame.time_base = round(at * 1000), Fraction(1, 1000)
            if key_frames is not None and index in key_frames:
                frame.pict_type = av.video.frame.PictureType.I
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for position in range(0, round(48_000 * sound_seconds), 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 48_000, position, Fraction(1, 48_000)
            container.mux(sound.encode(silence))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def segments_of(path: Path) -> list[Path]:
    return [path.parent / line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("segments", ["mpegts", "fmp4"])
def test_a_playlist_whose_second_part_begins_at_time_0_again(tmp_path: Path, read: Read, segments: str) -> None:
    path = make_playlist(tmp_path, segments=segments)
    lines = path.read_text(encoding="utf-8").splitlines()
    media = [line for line in lines if line.startswith("#EXTINF") or not line.startswith("#")]
    init = [line for line in lines if line.startswith("#EXT-X-MAP")]
    path.write_text("\n".join([*lines[:-1], "#EXT-X-DISCONTINUITY", *init, *media, "#EXT-X-ENDLIST", ""]))
    with http_server(tmp_path) as base:
        reading = read(f"{base}/list.m3u8")
    assert reading.error is None
    assert reading.stats.num_corrupt == 0
    assert [frame.pts_seconds for frame in reading.frames] == pytest.approx(
        [index / FPS for index in range(2 * NUM_FRAMES)], abs=0.05
    )


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
@pytest.mark.parametrize("missing", [[], [0], [2], [NUM_SEGMENTS - 1], [1, 2], [1, 4]], ids=str)
def test_missing_segments_are_said(tmp_path: Path, read: Read, kind: str, missing: list[int]) -> None:
    path = make_playlist(tmp_path, segments=kind)
    files = segments_of(path)
    assert len(files) == NUM_SEGMENTS
    for index in missing:
        files[index].unlink()
    with http_server(tmp_path) as base:
        reading = read(f"{base}/list.m3u8")
    assert len(reading.frames) == NUM_FRAMES - GOP * len(missing)
    if not missing:
        assert reading.error is None
        assert reading.stats.num_corrupt == 0
    else:
        assert type(reading.error) is DecodeError
        assert reading.error.exit_code == 4
        assert f"about {GOP * len(missing)} pictures" in str(reading.error)
        assert reading.stats.num_corrupt >= GOP * len(missing)


@pytest.mark.parametrize("is_missing", [True, False])
def test_segments_with_a_clock_of_their_own(tmp_path: Path, read: Read, is_missing: bool) -> None:
    """As of cameras that write one short recording after the other."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1"]
    for index in range(3):
        folder = tmp_path / str(index)
        folder.mkdir()
        first = segments_of(make_playlist(folder))[0]
        lines += ["#EXT-X-DISCONTINUITY", f"#EXTINF:{SEGMENT_SECONDS:.6f},", f"{index}/{first.name}"]
        if is_missing and index == 1:
            first.unlink()
    (tmp_path / "all.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST"]), encoding="utf-8")
    with http_server(tmp_path) as base:
        reading = read(f"{base}/all.m3u8")
    assert len(reading.frames) == GOP * (2 if is_missing else 3)
    assert isinstance(reading.error, DecodeError) == is_missing


@pytest.mark.parametrize("sound_seconds", [NUM_FRAMES / FPS, NUM_FRAMES / FPS + 2, NUM_FRAMES / FPS - 2])
def test_a_complete_playlist_with_sound_is_not_accused(tmp_path: Path, read: Read, sound_seconds: float) -> None:
    make_playlist(tmp_path, sound_seconds=sound_seconds)
    with http_server(tmp_path) as base:
        reading = read(f"{base}/list.m3u8")
    assert reading.error is None
    assert len(reading.frames) == NUM_FRAMES


def test_a_missing_segment_with_sound_is_said(tmp_path: Path, read: Read) -> None:
    path = make_playlist(tmp_path, sound_seconds=NUM_FRAMES / FPS)
    segments_of(path)[3].unlink()
    with http_server(tmp_path) as base:
        reading = read(f"{base}/list.m3u8")
    assert type(reading.error) is DecodeError


PAUSES = [index / FPS + 3 * (index // 20) for index in range(NUM_FRAMES)]
SLIDES = [2.0 * index for index in range(12)]


@pytest.mark.parametrize(
    ("at_seconds", "key_frames"),
    [
        pytest.param(PAUSES, [0, 25, 50, 75], id="pauses within a group of pictures"),
        pytest.param(SLIDES, list(range(12)), id="slides, each a key frame"),
        pytest.param([index / 5 for index in range(30)], list(range(0, 30, 5)), id="a low rate"),
    ],
)
def test_a_variable_rate_is_not_accused(
    tmp_path: Path, read: Read, at_seconds: list[float], key_frames: list[int]
) -> None:
    make_playlist(tmp_path, at_seconds=at_seconds, key_frames=key_frames)
    with http_server(tmp_path) as base:
        reading = read(f"{base}/list.m3u8")
    assert reading.error is None
    assert len(reading.frames) == len(at_seconds)


def test_durations_in_whole_seconds_are_taken_as_rounded() -> None:
    meter = GapMeter()
    for index in range(2400):
        meter.add_picture(index / FPS, is_key=index % 240 == 0)
    assert meter.missing_seconds(declared_seconds=100.0) == 0  # ten segments of 9.6 s, each declared as 10


def test_a_step_of_the_clock_is_no_loss_where_all_that_is_declared_came() -> None:
    meter = GapMeter()
    gaps = [meter.add_picture(index / FPS + 20 * (index >= 250), is_key=index % 50 == 0) for index in range(500)]
    assert max(gaps) == pytest.approx(20)
    assert meter.missing_seconds(declared_seconds=20.01) == 0


def test_a_segment_that_breaks_off_is_said(tmp_path: Path, read: Read) -> None:
    path = make_playlist(tmp_path)
    whole = segments_of(path)[2]
    (tmp_path / "break").mkdir()
    path.write_text(path.read_text(encoding="utf-8").replace(whole.name, f"break/{whole.name}"), encoding="utf-8")
    with http_server(tmp_path) as base:  # which breaks off what is under that path
        reading = read(f"{base}/list.m3u8")
    assert type(reading.error) is DecodeError
    assert NUM_FRAMES - GOP <= len(reading.frames) < NUM_FRAMES


def test_live_gaps_are_counted_and_said(tmp_path: Path, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    path = make_playlist(tmp_path)
    segments_of(path)[2].unlink()
    with http_server(tmp_path) as base, caplog.at_level(logging.WARNING, "emostream"):
        reading = read(f"{base}/list.m3u8", kind=StreamKind.LIVE)
    assert reading.stats.num_corrupt >= GOP
    assert "0.6 s of the picture are missing" in caplog.text


@given(
    num_segments=st.integers(2, 12),
    pictures_per_segment=st.integers(5, 60),
    fps=st.sampled_from([5.0, 12.5, 24.0, 29.97, 60.0]),
    data=st.data(),
)
def test_what_is_missing_is_measured(
    num_segments: int, pictures_per_segment: int, fps: float, data: st.DataObject
) -> None:
    """Whatever is missing of a constant rate, as long as more than the tolerance is."""
    lost = data.draw(st.sets(st.integers(0, num_segments - 1), max_size=num_segments - 1))
    meter = GapMeter()
    for index in range(num_segments * pictures_per_segment):
        if index // pictures_per_segment not in lost:
            meter.add_picture(index / fps, is_key=index % pictures_per_segment == 0)
    declared = num_segments * pictures_per_segment / fps
    missing = meter.missing_seconds(declared_seconds=declared + 1e-4)  # not whole seconds
    truth = len(lost) * pictures_per_segment / fps
    if not lost:
        assert missing == 0
    elif truth > 1 and not meter.is_variable:
        assert missing == pytest.approx(truth, abs=2 / fps + 1e-3)
