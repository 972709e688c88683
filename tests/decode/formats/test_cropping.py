"""Borders that Matroska says are not to be shown are left out; damaged files crop nothing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import DecodeSettings
from emostream.decode.formats.cropping import Cropping, croppings_in_matroska
from emostream.decode.pyav_source import PyAVSource
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from tests.media import LOSSY_TOLERANCE, corner_picture, make_clip

TRACKS, TRACK_ENTRY, VIDEO = b"\x16\x54\xae\x6b", b"\xae", b"\xe0"
BOTTOM, TOP, LEFT, RIGHT = b"\x54\xaa", b"\x54\xbb", b"\x54\xcc", b"\x54\xdd"
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"


def element(name: bytes, content: bytes) -> bytes:
    return name + (len(content) | 1 << 56).to_bytes(8, "big") + content


def number(name: bytes, value: int) -> bytes:
    return element(name, value.to_bytes(2, "big"))


def size_at(content: bytes, at: int) -> tuple[int, int]:
    """Where the content of an element begins whose size stands here, and how long it is."""
    length = 9 - content[at].bit_length()
    value = int.from_bytes(content[at : at + length], "big") & ((1 << 7 * length) - 1)
    return at + length, value


def with_more_of_video(content: bytes, more: bytes, *, path: tuple[bytes, ...] = (TRACKS, TRACK_ENTRY, VIDEO)) -> bytes:
    """The inside of a Matroska segment with further elements in the description of its video."""
    if not path:
        return content + more
    at = 0
    while not content.startswith(path[0], at):
        inside, size = size_at(content, at + 9 - content[at].bit_length())
        at = inside + size
    inside, size = size_at(content, at + len(path[0]))
    changed = with_more_of_video(content[inside : inside + size], more, path=path[1:])
    return content[:at] + element(path[0], changed) + content[inside + size :]


def bordered(path: Path, *, more: bytes, **options: Any) -> Path:
    """A clip of 64×48 in a black border of 8 columns left, 4 right, 2 lines above and 6 below."""
    picture = np.zeros((56, 76), np.uint8)
    picture[2:50, 8:72] = corner_picture(64, 48)
    make_clip(
        path,
        width=76,
        height=56,
        num_frames=4,
        picture=lambda _: picture,
        mux_options={"live": "1"},
        **{"options": {"crf": "10"}} | options,
    )
    header, segment, inside = path.read_bytes().partition(b"\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff")
    assert segment, "a live recording, whose segment does not say how long it is"
    path.write_bytes(header + segment + with_more_of_video(inside, more))
    return path


def frames_of(path: Path) -> list[Frame]:
    with PyAVSource(StreamSpec("s", str(path), StreamKind.FILE), settings=DecodeSettings()) as source:
        frames = list(source)
        assert (source.info.width, source.info.height) == (frames[0].stored_width, frames[0].stored_height)
    return frames


BORDER = number(LEFT, 8) + number(RIGHT, 4) + number(TOP, 2) + number(BOTTOM, 6)


@pytest.mark.parametrize("rotation", [0, 90])
def test_the_border_is_left_out(tmp_path: Path, rotation: int) -> None:
    frames = frames_of(bordered(tmp_path / "a.mkv", more=BORDER, rotation=rotation))
    assert len(frames) == 4
    wanted = np.rot90(corner_picture(64, 48), rotation // 90).astype(int)
    for frame in frames:
        assert np.abs(frame.full_luma(frame.luma) - wanted)[6::12, 8::16].max() <= LOSSY_TOLERANCE
        assert frame.rgb().shape == (*wanted.shape, 3)
        assert np.abs(frame.rgb()[:, :, 1] - wanted)[6::12, 8::16].max() <= LOSSY_TOLERANCE + 1


def test_the_shape_is_that_of_what_is_left(tmp_path: Path) -> None:
    shown = number(DISPLAY_WIDTH, 96) + number(DISPLAY_HEIGHT, 48) + number(DISPLAY_UNIT, 0)
    (frame, *_) = frames_of(bordered(tmp_path / "a.mkv", more=BORDER + shown))
    assert (frame.stored_width, frame.stored_height, frame.pixel_aspect) == (64, 48, 1.5)
    assert (frame.width, frame.height) == (96, 48)


@pytest.mark.parametrize("more", [b"", number(LEFT, 0)])
def test_a_file_without_borders(tmp_path: Path, more: bytes) -> None:
    (frame, *_) = frames_of(bordered(tmp_path / "a.mkv", more=more))
    assert frame.luma.shape == (56, 76)


@pytest.mark.parametrize("cropping", [Cropping(left=40, right=36), Cropping(top=60), Cropping(bottom=56)])
def test_nothing_is_left_out_where_nothing_would_be_left(cropping: Cropping) -> None:
    picture = np.zeros((56, 76), np.uint8)
    assert cropping.apply(picture) is picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bordered(tmp_path_factory.mktemp("clip") / "a.mkv", more=BORDER).read_bytes()


def test_what_a_file_says(clip: bytes) -> None:
    assert croppings_in_matroska(io.BytesIO(clip)) == [Cropping(8, 2, 4, 6)]
    for cut in range(0, len(clip), 7):
        assert len(croppings_in_matroska(io.BytesIO(clip[:cut]))) <= 1


@given(st.data())
def test_no_damage_is_an_error(clip: bytes, data: st.DataObject) -> None:
    damaged = bytearray(clip[:600])
    for _ in range(data.draw(st.integers(1, 20))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for cropping in croppings_in_matroska(io.BytesIO(bytes(damaged))):
        assert cropping.apply(np.zeros((48, 64), np.uint8)).size > 0


@given(st.binary(max_size=200))
def test_no_file_is_an_error(content: bytes) -> None:
    croppings_in_matroska(io.BytesIO(content))
    croppings_in_matroska(io.BytesIO(b"\x1aE\xdf\xa3\x80\x18S\x80g\xff" + content))
