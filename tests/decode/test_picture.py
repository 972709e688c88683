"""Pictures of every usual format as frames; what is no picture is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emostream.config import DecodeSettings
from emostream.decode.picture import open_picture_content, picture_path, read_picture
from emostream.domain.frame import Frame
from emostream.errors import DecodeError, SourceError, SourceRejectedError
from tests.media import LOSSY_TOLERANCE, corner_picture, cut_file, make_clip, textured_picture

SETTINGS = DecodeSettings()
FORMATS = [
    pytest.param("a.png", "png", "rgb24", 0, id="PNG"),
    pytest.param("a.png", "png", "rgba", 0, id="PNG with alpha"),
    pytest.param("a.png", "png", "gray16be", 1, id="PNG of 16 bits"),
    pytest.param("a.jpg", "mjpeg", "yuvj420p", LOSSY_TOLERANCE, id="JPEG"),
    pytest.param("a.png", "png", "gray", 0, id="gray PNG"),
    pytest.param("a.bmp", "bmp", "bgr24", 0, id="BMP"),
    pytest.param("a.tiff", "tiff", "rgb24", 0, id="TIFF"),
    pytest.param("a.gif", "gif", "gray", 0, id="GIF"),
    pytest.param("a.webp", "libwebp", "yuv420p", LOSSY_TOLERANCE, id="WebP"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "tolerance"), FORMATS)
def test_formats(tmp_path: Path, name: str, codec: str, pix_fmt: str, tolerance: int) -> None:
    picture = corner_picture(64, 32)
    path = make_clip(
        tmp_path / name,
        num_frames=1,
        width=64,
        height=32,
        codec=codec,
        pix_fmt=pix_fmt,
        is_full_range=codec != "libwebp",
        picture=lambda _: picture,
    )
    for frame in (read_picture(str(path), settings=SETTINGS), read_bytes(path.read_bytes())):
        luma = frame.full_luma(frame.luma).astype(int)
        assert luma.shape == (32, 64)
        assert np.abs(luma[4::8, 4::8] - picture[4::8, 4::8]).max() <= tolerance
        assert frame.rgb().shape == (32, 64, 3)


def read_bytes(content: bytes) -> Frame:
    with picture_path(content) as path:
        return read_picture(path, settings=SETTINGS)


def test_of_an_animation_the_first_picture_counts(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.gif",
        num_frames=3,
        codec="gif",
        pix_fmt="gray",
        is_full_range=True,
        picture=lambda index: corner_picture(64, 48) // (index + 1),
    )
    assert read_picture(str(path), settings=SETTINGS).luma.max() == 220


def write_text(path: Path) -> None:
    path.write_text("no picture at all " * 50, encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: path.touch(), "the file is empty"),
        (write_text, "expected a video or picture"),
    ],
    ids=["missing", "folder", "empty", "text"],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "a.png")  # type: ignore[operator]
    with pytest.raises(SourceRejectedError, match=message):
        read_picture(str(tmp_path / "a.png"), settings=SETTINGS)


def test_a_huge_picture_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.png",
        num_frames=1,
        width=200,
        height=200,
        codec="png",
        pix_fmt="gray",
        picture=lambda _: corner_picture(200, 200),
    )
    assert read_picture(str(path), settings=SETTINGS).width == 200
    with pytest.raises(SourceRejectedError, match=r"200×200.*30000.*decode\.max_frame_pixels"):
        read_picture(str(path), settings=DecodeSettings(max_frame_pixels=30_000))


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("a.png", "png", "gray"), ("a.jpg", "mjpeg", "yuvj420p")])
@pytest.mark.parametrize("keep_ratio", [0.3, 0.95])
def test_a_picture_without_its_end_is_damaged(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, keep_ratio: float
) -> None:
    """FFmpeg makes the rest of a JPEG green, without a word."""
    whole = make_clip(
        tmp_path / name,
        num_frames=1,
        width=128,
        height=128,
        codec=codec,
        pix_fmt=pix_fmt,
        is_full_range=True,
        picture=lambda index: textured_picture(index, width=128, height=128),
    )
    cut = cut_file(whole, tmp_path / f"cut-{name}", keep_ratio=keep_ratio)
    with pytest.raises(DecodeError):
        read_picture(str(cut), settings=SETTINGS)


@pytest.mark.parametrize("damage", ["cut, with an end", "a part of zeros", "a part is missing"])
def test_a_jpeg_with_damage_inside_is_refused(tmp_path: Path, damage: str) -> None:
    """FFmpeg makes gray of it, without a word."""
    content = make_clip(
        tmp_path / "a.jpg",
        num_frames=1,
        width=256,
        height=256,
        codec="mjpeg",
        pix_fmt="yuvj420p",
        is_full_range=True,
        picture=lambda index: textured_picture(index, width=256, height=256),
    ).read_bytes()
    assert read_bytes(content).height == 256
    third = len(content) // 3
    damaged = {
        "cut, with an end": content[: 2 * third] + b"\xff\xd9",
        "a part of zeros": content[:third] + bytes(third) + content[2 * third :],
        "a part is missing": content[:third] + content[2 * third :],
    }[damage]
    with pytest.raises(SourceError):
        read_bytes(damaged)


def test_messages_call_a_picture_in_memory_by_its_name() -> None:
    with (
        pytest.raises(SourceError),
        open_picture_content(b"no picture " * 100, name="the picture", settings=SETTINGS) as (source, _),
        source,
    ):
        pass


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.png", "png", "rgb24"),
        ("a.jpg", "mjpeg", "yuvj420p"),
        ("a.bmp", "bmp", "bgr24"),
        ("a.gif", "gif", "gray"),
        ("a.tiff", "tiff", "rgb24"),
    ],
)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_level_is_no_answer(tmp_path: Path, name: str, codec: str, pix_fmt: str, level: int) -> None:
    """What decoders make of pictures that they cannot read."""
    path = make_clip(
        tmp_path / name,
        num_frames=1,
        codec=codec,
        pix_fmt=pix_fmt,
        is_full_range=True,
        picture=lambda _: np.full((48, 64), level, np.uint8),
    )
    with pytest.raises(DecodeError) as raised:
        read_picture(str(path), settings=SETTINGS)
    assert raised.value.exit_code == 4


def test_the_first_picture_of_a_video_may_be_black(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", picture=lambda _: np.zeros((48, 64), np.uint8))
    assert read_picture(str(path), settings=SETTINGS).luma.max() <= 16


def test_a_picture_of_another_size_than_declared_is_damaged(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.jpg",
        num_frames=1,
        codec="mjpeg",
        pix_fmt="yuvj420p",
        is_full_range=True,
        picture=lambda _: corner_picture(64, 48),
    )
    content = path.read_bytes()
    header = content.index(b"\xff\xc0")
    other_size = content[header : header + 5] + b"\0\x20\0\x20" + content[header + 9 : header + 19]
    with (
        open_picture_content(content[:2] + other_size + content[2:], name="a", settings=SETTINGS) as (source, _),
        pytest.raises(SourceError),
        source,
    ):
        list(source)
