"""Of several videos the one that players show is read, and it is said."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.video_track import VideoTrack, choose_track, told_of_tracks
from emostream.domain.stream import StreamKind
from emostream.errors import SourceRejectedError
from tests.decode.conftest import Read
from tests.media import LOSSY_TOLERANCE, gray_level, http_server, make_clip, video_frame

NUM_FRAMES = 10
LEVELS = (40, 120, 200)  # of the first, second and third track


@dataclass(frozen=True)
class Track:
    size: tuple[int, int]
    codec: str = "libx264"
    is_default: bool = False
    num_frames: int = NUM_FRAMES


def make_tracks(path: Path, *tracks: Track) -> Path:
    """A file whose tracks have a gray level of their own."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for track in tracks:
            stream: Any = container.add_stream(track.codec, rate=25)
            stream.width, stream.height = track.size
            stream.pix_fmt = "yuvj420p" if track.codec == "mjpeg" else "yuv420p"
            stream.disposition = Disposition.default if track.is_default else Disposition(0)
            streams.append(stream)
        for index in range(NUM_FRAMES):
            for track, stream, level in zip(tracks, streams, LEVELS, strict=False):
                if index < track.num_frames:
                    picture = np.full((track.size[1], track.size[0]), level, np.uint8)
                    frame = video_frame(picture, pix_fmt=stream.pix_fmt)
                    frame.pts, frame.time_base = index, Fraction(1, 25)
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


SMALL, LARGE = (64, 48), (128, 96)


@pytest.mark.parametrize(
    ("name", "tracks", "expected"),
    [
        pytest.param("a.mp4", [Track(SMALL, "mjpeg", num_frames=1), Track(LARGE)], 1, id="a thumbnail first"),
        pytest.param(
            "a.mp4", [Track(LARGE, "mjpeg", num_frames=1, is_default=True), Track(SMALL)], 1, id="a large poster first"
        ),
        pytest.param("a.mkv", [Track(LARGE), Track(SMALL, is_default=True)], 1, id="the default"),
        pytest.param("a.mkv", [Track(SMALL), Track(LARGE), Track(SMALL)], 1, id="the largest"),
        pytest.param("a.ts", [Track(SMALL), Track(LARGE)], 1, id="the largest of a transport stream"),
        pytest.param("a.mkv", [Track(SMALL), Track(SMALL)], 0, id="the first of equal ones"),
    ],
)
def test_the_video_to_show_is_read_and_said(
    tmp_path: Path, read: Read, caplog: pytest.LogCaptureFixture, name: str, tracks: list[Track], expected: int
) -> None:
    with caplog.at_level(logging.WARNING, "emostream"):
        reading = read(make_tracks(tmp_path / name, *tracks))
    assert reading.error is None
    assert len(reading.frames) == NUM_FRAMES
    assert all(abs(level - LEVELS[expected]) <= LOSSY_TOLERANCE for level in reading.levels)
    assert reading.info is not None
    assert (reading.info.width, reading.info.height) == tracks[expected].size
    assert f"there are {len(tracks)} video tracks" in reading.info.notice
    assert f"track {expected} is read" in reading.info.notice
    assert reading.info.notice in caplog.text


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_another_track_can_be_chosen(tmp_path: Path, read: Read, wanted: int) -> None:
    path = make_tracks(tmp_path / "a.mkv", Track(LARGE, is_default=True), Track(SMALL), Track(SMALL))
    reading = read(path, track=wanted)
    assert all(abs(level - LEVELS[wanted]) <= LOSSY_TOLERANCE for level in reading.levels)
    assert len(reading.frames) == NUM_FRAMES


def test_a_track_that_is_not_there(tmp_path: Path, read: Read) -> None:
    path = make_tracks(tmp_path / "a.mkv", Track(LARGE), Track(SMALL))
    assert type(read(path, track=2).error) is SourceRejectedError


def test_of_one_video_nothing_is_said(tmp_path: Path, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    for is_cover in (True, False):
        reading = read(make_clip(tmp_path / "a.mp4", cover_art=is_cover, audio=not is_cover))
        assert reading.info is not None
        assert not reading.info.notice
    assert not caplog.text


@pytest.mark.parametrize("kind", list(StreamKind))
def test_of_a_ladder_the_best_is_read(tmp_path: Path, read: Read, kind: StreamKind) -> None:
    lines = ["#EXTM3U"]
    for name, (width, height), bandwidth in (("low", SMALL, 1), ("best", LARGE, 3), ("poor", LARGE, 2)):
        make_clip(
            tmp_path / f"{name}.m3u8",
            num_frames=30,
            width=width,
            height=height,
            mux_options={"hls_time": "0.4", "hls_list_size": "0"},
        )
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}00000,RESOLUTION={width}x{height}", f"{name}.m3u8"]
    (tmp_path / "all.m3u8").write_text("\n".join(lines), encoding="utf-8")
    with http_server(tmp_path) as base:
        reading = read(f"{base}/all.m3u8", kind=kind)
    assert len(reading.frames) == 30
    assert reading.info is not None
    assert (reading.info.width, reading.info.height) == LARGE
    assert "there are 3 video tracks" in reading.info.notice
    assert "track 1 is read" in reading.info.notice
    assert abs(reading.levels[7] - gray_level(7)) <= LOSSY_TOLERANCE


TRACKS = st.lists(
    st.builds(
        VideoTrack,
        index=st.integers(0, 9),
        codec=st.sampled_from(["h264", "mjpeg", "png"]),
        width=st.integers(0, 4000),
        height=st.integers(0, 4000),
        is_default=st.booleans(),
        num_frames=st.sampled_from([0, 1, 100]),
        bit_rate=st.integers(0, 9),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda track: track.index,
)


@given(TRACKS)
def test_the_choice_does_not_depend_on_the_order(tracks: list[VideoTrack]) -> None:
    chosen = choose_track(tracks)
    assert choose_track(tracks[::-1]) == chosen
    if not all(track.is_still for track in tracks):
        assert not chosen.is_still
    assert bool(told_of_tracks(tracks, chosen)) == (len(tracks) > 1)
