"""EXIF orientation: all eight, in both byte orders and every container of it, and through the decoder."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import DecodeSettings
from emostream.decode.formats.exif import orientation_from_exif
from emostream.decode.formats.orientation import UPRIGHT
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.stream import StreamKind, StreamSpec
from tests.media import add_png_chunk, corner_picture, make_clip

# What a viewer shows of a picture stored as [[1, 2, 3], [4, 5, 6]].
SHOWN = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}
STORED = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)


def tiff_block(orientation: int, *, order: str = "<") -> bytes:
    """A header, and a directory of two entries: a picture width, then the orientation."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    width = struct.pack(f"{order}HHII", 0x0100, 4, 1, 640)
    turned = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(f"{order}H", 2) + width + turned + bytes(4)


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_eight(orientation: int, order: str) -> None:
    content = b"\xff\xd8\xff\xe1\0\0Exif\0\0" + tiff_block(orientation, order=order) + b"rest"
    assert orientation_from_exif(content).apply(STORED).tolist() == SHOWN[orientation]


@pytest.mark.parametrize("start", [b"", b"\x89PNG....eXIf", b"RIFF....WEBPEXIF\x2e\0\0\0"], ids=["tiff", "png", "webp"])
def test_every_container(start: bytes) -> None:
    assert orientation_from_exif(start + tiff_block(6)).apply(STORED).tolist() == SHOWN[6]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_no_valid_orientation_is_upright(orientation: int) -> None:
    assert orientation_from_exif(b"Exif\0\0" + tiff_block(orientation)) is UPRIGHT


@given(st.integers(0, 40), st.binary(max_size=60))
def test_damage_never_raises(length: int, garbage: bytes) -> None:
    for content in (garbage, b"Exif\0\0" + tiff_block(6)[:length], b"Exif\0\0II*\0" + garbage):
        orientation_from_exif(content)


def png_with_exif(path: Path, orientation: int) -> Path:
    picture = corner_picture(32, 16)
    arguments = {"codec": "png", "pix_fmt": "gray", "is_full_range": True}
    make_clip(path, num_frames=1, width=32, height=16, picture=lambda _: picture, **arguments)  # type: ignore[arg-type]
    return add_png_chunk(path, b"eXIf", tiff_block(orientation))


@pytest.mark.parametrize("orientation", SHOWN)
def test_a_photo_is_decoded_upright(tmp_path: Path, orientation: int) -> None:
    path = png_with_exif(tmp_path / "photo.png", orientation)
    spec = StreamSpec("photo", str(path), StreamKind.FILE)
    with PyAVSource(spec, settings=DecodeSettings()) as source:
        (frame,) = list(source)
    corners = frame.luma[[[0, 0], [-1, -1]], [[0, -1], [0, -1]]]
    stored = corner_picture(32, 16)
    expected = orientation_from_exif(tiff_block(orientation)).apply(stored)
    assert frame.luma.shape == expected.shape
    assert (corners == expected[[[0, 0], [-1, -1]], [[0, -1], [0, -1]]]).all()
    assert (source.info.width, source.info.height) == (frame.width, frame.height)
    assert frame.rgb().shape == (*expected.shape, 3)
