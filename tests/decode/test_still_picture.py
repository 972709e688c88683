"""HEIC, AVIF and TIFF: what FFmpeg reads wrongly without a word is read right, or refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from emostream.config import DecodeSettings
from emostream.decode.picture import open_picture_content, read_picture
from emostream.domain.frame import Frame
from emostream.errors import DecodeError, SourceError, SourceRejectedError
from tests.decode.conftest import Read
from tests.media import corner_picture, mp4_box

register_heif_opener()

SETTINGS = DecodeSettings()
WIDTH, HEIGHT = 300, 200
TOLERANCE = 6  # of lossy coding in the middle of flat areas
ORIENTATION_TAG = 0x0112


def coded(kind: str, picture: npt.NDArray[Any] | None = None, **options: Any) -> bytes:
    """Four quadrants of their own level."""
    file = io.BytesIO()
    Image.fromarray(corner_picture(WIDTH, HEIGHT) if picture is None else picture).save(file, kind, **options)
    return file.getvalue()


def tiff(samples: npt.NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


def with_index_behind(content: bytes) -> bytes:
    """The boxes of a HEIC as some phones write them: first the data, then the index."""
    boxes, offset = {}, 0
    while offset < len(content):
        size = int.from_bytes(content[offset : offset + 4], "big")
        boxes[content[offset + 4 : offset + 8]] = content[offset : offset + size]
        offset += size
    index = bytearray(boxes[b"meta"])
    at = index.index(b"iloc") + 4
    has_method = index[at] == 1
    sizes, num_items = struct.unpack_from(">HH", index, at + 4)
    assert sizes in (0x4440, 0x4400)  # offsets and lengths of 4 bytes each, perhaps base offsets
    at += 8

    def move(position: int) -> None:
        (offset,) = struct.unpack_from(">I", index, position)
        struct.pack_into(">I", index, position, offset - len(index))

    for _ in range(num_items):
        is_in_file = not has_method or struct.unpack_from(">H", index, at + 2)[0] == 0  # not in the index itself
        at += 6 if has_method else 4
        has_base = sizes == 0x4440 and struct.unpack_from(">I", index, at)[0] > 0
        if is_in_file and has_base:
            move(at)
        at += 4 if sizes == 0x4440 else 0
        (num_extents,) = struct.unpack_from(">H", index, at)
        at += 2
        for _ in range(num_extents):
            if is_in_file and not has_base:
                move(at)
            at += 8
    return boxes[b"ftyp"] + boxes[b"mdat"] + bytes(index)


def read_content(content: bytes) -> Frame:
    with open_picture_content(content, name="the picture", settings=SETTINGS) as (source, _), source:
        (frame,) = list(source)
    return frame


def assert_shows_corners(frame: Frame, expected: npt.NDArray[Any] | None = None) -> None:
    picture = corner_picture(WIDTH, HEIGHT) if expected is None else expected
    assert frame.luma.shape == picture.shape
    rows, columns = (np.linspace(10, side - 10, 9).astype(int) for side in picture.shape)
    rows, columns = (
        positions[np.abs(positions - side // 2) > 8]
        for positions, side in zip((rows, columns), picture.shape, strict=True)
    )
    got = frame.full_luma(frame.luma).astype(int)[np.ix_(rows, columns)]
    assert np.abs(got - picture[np.ix_(rows, columns)]).max() <= TOLERANCE
    assert frame.rgb().shape == (*picture.shape, 3)


KINDS: dict[str, Callable[[], bytes]] = {
    "HEIC": lambda: coded("HEIF"),
    "HEIC in tiles": lambda: coded("HEIF", tile_size=64),
    "HEIC in tiles, index behind": lambda: with_index_behind(coded("HEIF", tile_size=64)),
    "HEIC, index behind": lambda: with_index_behind(coded("HEIF")),
    "AVIF": lambda: coded("AVIF"),
    "TIFF": lambda: coded("TIFF"),
    **{
        f"TIFF {compression}": lambda compression=compression: coded("TIFF", compression=compression)  # type: ignore[misc]
        for compression in ("jpeg", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "zstd")
    },
    "TIFF jpeg, RGB": lambda: coded("TIFF", np.dstack([corner_picture(WIDTH, HEIGHT)] * 3), compression="jpeg"),
    "TIFF in tiles": lambda: tiff(corner_picture(WIDTH, HEIGHT), tile=(64, 64)),
    "TIFF by planes": lambda: tiff(
        np.stack([corner_picture(WIDTH, HEIGHT)] * 3), photometric="rgb", planarconfig="separate"
    ),
    "TIFF, white is zero": lambda: tiff(255 - corner_picture(WIDTH, HEIGHT), photometric="miniswhite"),
    "TIFF of 16 bits": lambda: tiff(corner_picture(WIDTH, HEIGHT).astype(np.uint16) * 257),
    "TIFF of 16 bits, big-endian": lambda: tiff(corner_picture(WIDTH, HEIGHT).astype(np.uint16) * 257, byteorder=">"),
    "TIFF of 16 bits, white is zero": lambda: tiff(
        65535 - corner_picture(WIDTH, HEIGHT).astype(np.uint16) * 257, photometric="miniswhite"
    ),
    "BigTIFF": lambda: tiff(corner_picture(WIDTH, HEIGHT), bigtiff=True),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_the_whole_picture_is_read(tmp_path: Path, make: Callable[[], bytes]) -> None:
    content = make()
    assert_shows_corners(read_content(content))
    (tmp_path / "picture").write_bytes(content)
    assert_shows_corners(read_picture(str(tmp_path / "picture"), settings=SETTINGS))


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    stored = Image.fromarray(corner_picture(WIDTH, HEIGHT))
    stored.getexif()[ORIENTATION_TAG] = orientation
    upright = np.asarray(ImageOps.exif_transpose(stored))
    assert_shows_corners(read_content(coded(kind, exif=exif)), upright)


def test_exif_does_not_count_where_the_index_of_a_heic_says_how_it_is_turned() -> None:
    """Phones write both."""
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    content = coded("HEIF", exif=exif)
    assert_shows_corners(read_content(content + mp4_box(b"free", mp4_box(b"irot", b"\0"))))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("keep_ratio", [0.2, 0.6, 0.9])
def test_cut_ones_are_refused(make: Callable[[], bytes], keep_ratio: float) -> None:
    content = make()
    with pytest.raises(SourceError):
        read_content(content[: int(keep_ratio * len(content))])


@pytest.mark.parametrize("dtype", [np.float32, np.uint32, np.float16])
def test_samples_whose_white_is_unknown_are_refused(dtype: type[np.generic]) -> None:
    with pytest.raises(SourceRejectedError):
        read_content(tiff(corner_picture(WIDTH, HEIGHT).astype(dtype)))


def test_a_small_copy_is_not_taken_for_the_picture() -> None:
    small = corner_picture(30, 20)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(small, subfiletype=1)
        writer.write(corner_picture(WIDTH, HEIGHT))
    assert_shows_corners(read_content(file.getvalue()))
    with pytest.raises(SourceRejectedError):
        read_content(tiff(small, subfiletype=1))


def test_a_small_copy_is_no_second_page() -> None:
    for is_first in (True, False):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            for is_small in (is_first, not is_first):
                picture = corner_picture(30, 20) if is_small else corner_picture(WIDTH, HEIGHT)
                writer.write(picture, subfiletype=int(is_small))
        assert_shows_corners(read_content(file.getvalue()))
        with open_picture_content(file.getvalue(), name="a", settings=SETTINGS) as (source, _), source:
            assert source.info.num_frames == 1


def test_several_pages_are_said() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(3):
            writer.write(corner_picture(WIDTH, HEIGHT))
    with open_picture_content(file.getvalue(), name="a", settings=SETTINGS) as (source, _), source:
        assert source.info.num_frames == 3


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "TIFF"])
def test_too_large_ones_are_refused(kind: str) -> None:
    settings = DecodeSettings(max_frame_pixels=WIDTH * HEIGHT - 1)
    with (
        pytest.raises(SourceRejectedError, match=f"{WIDTH}×{HEIGHT}"),
        open_picture_content(coded(kind), name="a", settings=settings) as (source, _),
        source,
    ):
        pass


def test_one_level_is_no_answer() -> None:
    with pytest.raises(DecodeError):
        read_content(coded("TIFF", np.full((48, 64), 9, np.uint8)))


@pytest.mark.parametrize(("kind", "name"), [("HEIF", "a.heic"), ("AVIF", "a.avif"), ("TIFF", "a.tif")])
def test_as_a_video_they_are_refused(tmp_path: Path, read: Read, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(coded(kind))
    reading = read(tmp_path / name)
    assert type(reading.error) is SourceRejectedError
    assert "read as pictures only" in str(reading.error)
    assert not reading.frames
