"""Pixels that are not square: what sources say of them is believed where it can be, and pictures come as shown."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import DecodeSettings
from emostream.decode.picture import read_picture
from emostream.decode.pixel_aspect import display_size
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.source import SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from tests.media import LOSSY_TOLERANCE, corner_picture, make_clip

WIDE = Fraction(2)
CORNERS = {(0.25, 0.25): 40, (0.75, 0.25): 100, (0.25, 0.75): 160, (0.75, 0.75): 220}


def clip(path: Path, *, width: int = 64, height: int = 48, num_frames: int = 3, **options: Any) -> Path:
    picture = corner_picture(width, height)
    return make_clip(path, width=width, height=height, num_frames=num_frames, picture=lambda _: picture, **options)


def frames_of(path: Path, *, max_pixels: int = 10**7, **options: Any) -> tuple[SourceInfo, list[Frame]]:
    spec = StreamSpec("s", str(path), StreamKind.FILE, **options)
    with PyAVSource(spec, settings=DecodeSettings(max_frame_pixels=max_pixels)) as source:
        return source.info, list(source)


def levels_of(pixels: np.ndarray) -> list[int]:
    """The gray levels of the four quarters, from their middles."""
    height, width = pixels.shape[:2]
    return [int(pixels[int(y * height), int(x * width)].mean()) for x, y in CORNERS]


@pytest.mark.parametrize(
    ("name", "codec", "aspect"),
    [
        ("a.mp4", "libx264", WIDE),
        ("a.mov", "libx264", Fraction(1, 2)),
        ("a.mkv", "libx264", WIDE),
        ("a.ts", "libx264", Fraction(12, 11)),
        ("a.flv", "libx264", WIDE),
        ("a.h264", "libx264", WIDE),
        ("a.avi", "mpeg4", Fraction(16, 11)),
        ("a.mpg", "mpeg2video", Fraction(4, 3)),  # which says that 64×48 is shown as 16:9
        ("a.mp4", "libx265", WIDE),
    ],
)
def test_pictures_come_as_they_are_shown(tmp_path: Path, name: str, codec: str, aspect: Fraction) -> None:
    info, frames = frames_of(clip(tmp_path / name, codec=codec, pixel_aspect=aspect, num_frames=12))
    assert (info.width, info.height) == (64, 48)
    assert info.pixel_aspect == pytest.approx(float(aspect), abs=1e-6)
    assert len(frames) == 12
    width, height = (round(64 * aspect), 48) if aspect > 1 else (64, round(48 / aspect))
    for frame in frames[::5]:
        assert (frame.width, frame.height, frame.stored_width, frame.stored_height) == (width, height, 64, 48)
        assert frame.pixel_aspect == info.pixel_aspect
        assert levels_of(frame.full_luma(frame.luma)) == pytest.approx(list(CORNERS.values()), abs=LOSSY_TOLERANCE)
        assert frame.rgb().shape == (height, width, 3)
        assert levels_of(frame.rgb()) == pytest.approx(list(CORNERS.values()), abs=LOSSY_TOLERANCE + 1)


def test_live_pictures_come_as_they_are_shown(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.ts", pixel_aspect=WIDE, num_frames=12)
    with PyAVSource(StreamSpec("s", str(path), StreamKind.LIVE), settings=DecodeSettings()) as source:
        frames = list(itertools.islice(source, 8))
        assert source.info.pixel_aspect == 2.0
    assert {(frame.width, frame.height, frame.pixel_aspect) for frame in frames} == {(128, 48, 2.0)}


@pytest.mark.parametrize(
    ("declared", "size"),
    [
        (Fraction(1), (64, 48)),
        (Fraction(404, 405), (64, 48)),  # sides were rounded
        (Fraction(1, 6), (64, 48)),  # nonsense
        (Fraction(6), (64, 48)),
        (Fraction(1, 2), (64, 96)),
        (Fraction(32, 11), (186, 48)),
        (None, (64, 48)),
    ],
)
def test_what_is_believed(tmp_path: Path, declared: Fraction | None, size: tuple[int, int]) -> None:
    info, (frame, *_) = frames_of(clip(tmp_path / "a.mp4", pixel_aspect=declared))
    assert (frame.width, frame.height) == size
    is_square = size == (64, 48)
    assert (frame.stored_size is None, info.pixel_aspect == 1, frame.pixel_aspect == 1) == (is_square,) * 3
    assert frame.luma.flags.owndata is not is_square, "square pixels are not copied"
    assert bool(info.notice) == (declared in (Fraction(1, 6), Fraction(6)))


@pytest.mark.parametrize(("rotation", "size", "aspect"), [(90, (48, 128), 0.5), (180, (128, 48), 2.0)])
def test_turned_pictures(tmp_path: Path, rotation: int, size: tuple[int, int], aspect: float) -> None:
    info, (frame, *_) = frames_of(clip(tmp_path / "a.mp4", pixel_aspect=WIDE, rotation=rotation))
    assert (frame.width, frame.height) == size
    assert (frame.pixel_aspect, info.pixel_aspect) == (aspect, aspect)
    assert (frame.stored_width, frame.stored_height) == (info.width, info.height)


@pytest.mark.parametrize(
    ("given", "size"), [(1, (64, 48)), ("1:2", (64, 96)), (3.0, (192, 48)), ("64:45", (91, 48)), (None, (128, 48))]
)
def test_what_is_set_counts_more(tmp_path: Path, given: Any, size: tuple[int, int]) -> None:
    _, (frame, *_) = frames_of(clip(tmp_path / "a.mp4", pixel_aspect=WIDE), pixel_aspect=given)
    assert (frame.width, frame.height) == size


def test_a_broadcast_that_changes_between_shapes(tmp_path: Path) -> None:
    parts = [
        clip(tmp_path / f"{number}.h264", num_frames=4, pixel_aspect=aspect)
        for number, aspect in enumerate([Fraction(16, 15), Fraction(64, 45)])
    ]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    _, frames = frames_of(both)
    assert len(frames) == 8
    widths = [frame.width for frame in frames]
    assert (widths[0], widths[-1]) == (68, 91) and set(widths) == {68, 91}


@pytest.mark.parametrize("size", [(960, 1080), (352, 576), (704, 288), (1440, 1080), (720, 576)])
def test_a_size_alone_bends_nothing(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    info, (frame,) = frames_of(clip(tmp_path / "a.mp4", width=width, height=height, num_frames=1))
    assert (frame.width, frame.height, frame.pixel_aspect) == (width, height, 1.0)
    assert ("pixel_aspect" in info.notice) == (size not in [(1440, 1080), (720, 576)])
    info, (frame,) = frames_of(tmp_path / "a.mp4", pixel_aspect=2)
    assert (info.notice, frame.width) == ("", 2 * width)


@pytest.mark.parametrize(("name", "codec"), [("a.jpg", "mjpeg"), ("a.png", "png")])
def test_pictures_tell_how_to_print_them_not_how_to_show_them(tmp_path: Path, name: str, codec: str) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    path = clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, num_frames=1, pixel_aspect=WIDE)
    assert read_picture(str(path), settings=DecodeSettings()).luma.shape == (48, 64)
    _, (frame,) = frames_of(path)
    assert (frame.width, frame.height, frame.pixel_aspect) == (64, 48, 1.0)


def test_too_many_pixels_are_not_made(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", pixel_aspect=WIDE)
    _, (frame, *_) = frames_of(path, max_pixels=64 * 48)
    assert (frame.width, frame.height, frame.rgb().shape) == (64, 24, (24, 64, 3))


@pytest.mark.heavy
@given(st.integers(16, 4096), st.integers(16, 4096), st.floats(0.2, 5.0))
def test_the_shape_is_right_and_nothing_shrinks_without_need(width: int, height: int, aspect: float) -> None:
    free = display_size(width, height, aspect=aspect, max_pixels=10**9)
    assert free[0] >= width and free[1] >= height
    bounded = display_size(width, height, aspect=aspect, max_pixels=width * height)
    assert bounded[0] * bounded[1] <= width * height
    for across, down in (free, bounded):
        assert across / down == pytest.approx(aspect * width / height, rel=0.6 / min(across, down) * 2)
