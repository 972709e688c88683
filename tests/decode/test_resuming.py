"""A file that is read on from the middle gives the pictures, numbers and times of a whole run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.resuming import ResumePoint
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from tests.decode.test_source_forms import write_dav
from tests.media import make_clip, textured_picture

NUM_FRAMES, FPS = 150, 25
WARM_UP_SECONDS = 1.0


def texture(index: int) -> Any:
    return textured_picture(index, width=64, height=48)


@dataclass(frozen=True)
class Clip:
    suffix: str
    codec: str = "libx264"
    options: tuple[tuple[str, str], ...] = ()
    is_variable: bool = False
    is_audible: bool = False
    gop_size: int = 12
    can_seek: bool = True


CLIPS = {
    "mp4": Clip(".mp4"),
    "mp4-b-frames-open-gop": Clip(".mp4", options=(("bf", "3"), ("x264-params", "open-gop=1:b-pyramid=normal"))),
    "mp4-hevc": Clip(".mp4", "libx265", options=(("bf", "3"), ("x265-params", "log-level=none:open-gop=1"))),
    "mp4-sound": Clip(".mp4", is_audible=True),
    "mp4-variable-rate": Clip(".mp4", is_variable=True),
    "mp4-one-key-frame": Clip(".mp4", gop_size=1000, can_seek=False),
    "mkv": Clip(".mkv", options=(("bf", "2"),)),
    "mkv-vp9": Clip(".mkv", "libvpx-vp9", options=(("lag-in-frames", "16"), ("auto-alt-ref", "1"), ("cpu-used", "8"))),
    "ts": Clip(".ts", options=(("bf", "2"),)),
    "ts-mpeg2": Clip(".ts", "mpeg2video"),
    "avi-mpeg4": Clip(".avi", "mpeg4"),
    "mov-mjpeg": Clip(".mov", "mjpeg"),
    "raw-h264": Clip(".h264", can_seek=False),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    made = {}
    for name, clip in CLIPS.items():
        times = [index / FPS + 0.013 * (index % 3) for index in range(NUM_FRAMES)] if clip.is_variable else None
        made[name] = make_clip(
            folder / f"{name}{clip.suffix}",
            num_frames=NUM_FRAMES,
            fps=FPS,
            codec=clip.codec,
            pix_fmt="yuvj420p" if clip.codec == "mjpeg" else "yuv420p",
            picture=texture,
            gop_size=clip.gop_size,
            pts_seconds=times,
            audio=clip.is_audible,
            options=dict(clip.options),
        )
    return made


def read(path: Path, point: ResumePoint | None = None) -> tuple[list[Frame], PyAVSource]:
    source = PyAVSource(StreamSpec("x", str(path), StreamKind.FILE), settings=DecodeSettings())
    if point is not None:
        source.resume_near(point, warm_up_seconds=WARM_UP_SECONDS)
    with source:
        return [frame for frame in source], source  # noqa: C416


def shown(frames: list[Frame]) -> list[tuple[int, float, bytes]]:
    return [(frame.frame_index, frame.pts_seconds, frame.luma.tobytes()) for frame in frames]


@pytest.mark.parametrize("name", list(CLIPS))
@pytest.mark.parametrize("at", [60, 97, NUM_FRAMES - 1])
def test_the_rest_is_that_of_a_whole_run(clips: dict[str, Path], name: str, at: int) -> None:
    whole, _ = read(clips[name])
    assert len(whole) == NUM_FRAMES
    known = whole[at]
    rest, source = read(clips[name], ResumePoint(known.frame_index, round(known.pts_seconds, 6)))
    assert shown(rest) == shown(whole)[rest[0].frame_index :]
    assert rest[0].pts_seconds <= known.pts_seconds - WARM_UP_SECONDS
    assert (rest[0].frame_index > 0) == CLIPS[name].can_seek
    if CLIPS[name].can_seek:
        assert rest[0].pts_seconds > known.pts_seconds - WARM_UP_SECONDS - 1.0, "it reads more than it needs"
        assert source.stats.num_packets <= NUM_FRAMES - rest[0].frame_index + 45


@pytest.mark.parametrize(
    "point",
    [
        ResumePoint(60, 2.41),  # no picture has this time
        ResumePoint(60, 1000.0),
        ResumePoint(3, 2.4),  # more pictures came before it than that
        ResumePoint(60, math.nan),
        ResumePoint(10, 0.4),
    ],
)
def test_a_picture_that_is_not_there_means_a_whole_run(clips: dict[str, Path], point: ResumePoint) -> None:
    assert shown(read(clips["mp4"], point)[0]) == shown(read(clips["mp4"])[0])


def test_a_file_whose_times_begin_again(tmp_path: Path, clips: dict[str, Path]) -> None:
    """Two recordings in one file: the second one's stamps name pictures of the first as well."""
    joined = tmp_path / "joined.ts"
    joined.write_bytes(clips["ts"].read_bytes() + clips["ts"].read_bytes())
    whole, _ = read(joined)
    known = whole[-20]
    rest, _ = read(joined, ResumePoint(known.frame_index, round(known.pts_seconds, 6)))
    assert shown(rest)[-20:] == shown(whole)[-20:]


@pytest.mark.parametrize(("name", "at"), [(name, at) for name in ("mkv", "ogv", "dav") for at in (97, 130, 210)])
def test_all_of_recordings_put_together(tmp_path: Path, clips: dict[str, Path], name: str, at: int) -> None:
    """Also those whose stamps are before those of the place where it goes on, and of formats that seek badly."""
    together = tmp_path / f"together.{name}"
    if name == "mkv":
        one = clips["mkv"]
    elif name == "ogv":
        one = make_clip(tmp_path / "one.ogv", num_frames=NUM_FRAMES, fps=FPS, codec="libvpx", picture=texture)
    else:
        one = write_dav(tmp_path / "one.dav", clips["raw-h264"])
    together.write_bytes(2 * one.read_bytes())
    whole, _ = read(together)
    known = whole[at]
    rest, _ = read(together, ResumePoint(known.frame_index, round(known.pts_seconds, 6)))
    assert rest[0].frame_index <= at
    assert [frame[:2] for frame in shown(rest)] == [frame[:2] for frame in shown(whole)][rest[0].frame_index :]


def test_closing_while_it_looks(clips: dict[str, Path]) -> None:
    source = PyAVSource(StreamSpec("x", str(clips["mp4"]), StreamKind.FILE), settings=DecodeSettings())
    source.resume_near(ResumePoint(97, 97 / FPS), warm_up_seconds=1.0)
    source.close()
    source.close()
