"""Frame: its checks, its ranges, its repr."""

from __future__ import annotations

import weakref
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma, full_range_from_limited

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_frame(luma: Luma, *, is_full_range: bool = True) -> Frame:
    return Frame("s", 3, 0.12, NOW, luma, is_full_range)


def test_size_is_that_of_luma() -> None:
    frame = make_frame(np.zeros((4, 6), np.uint8))
    assert (frame.width, frame.height) == (6, 4)


@pytest.mark.parametrize("luma", [np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.float32), np.zeros(4, np.uint8)])
def test_rejects_what_is_not_luma(luma: Luma) -> None:
    with pytest.raises(ValueError, match="uint8 H×W"):
        make_frame(luma)


def test_rejects_naive_time() -> None:
    with pytest.raises(ValueError):
        Frame("s", 0, 0.0, NOW.replace(tzinfo=None), np.zeros((1, 1), np.uint8))


def test_limited_range_ends_are_black_and_white() -> None:
    limited = np.array([[0, 16, 126, 235, 255]], np.uint8)
    assert full_range_from_limited(limited).tolist() == [[0, 0, 128, 255, 255]]


def test_full_luma_converts_only_limited_range() -> None:
    luma = np.full((2, 2), 235, np.uint8)
    assert make_frame(luma).full_luma(luma)[0, 0] == 235
    assert make_frame(luma, is_full_range=False).full_luma(luma)[0, 0] == 255


def test_rgb_repeats_gray_where_there_is_no_colour() -> None:
    rgb = make_frame(np.full((2, 3), 16, np.uint8), is_full_range=False).rgb()
    assert rgb.shape == (2, 3, 3)
    assert not rgb.any()


def test_repr_shows_shape_not_pixels() -> None:
    assert repr(make_frame(np.zeros((4, 6), np.uint8))) == "Frame('s', index=3, pts=0.120s, 6×4)"


def test_without_its_picture_a_frame_says_the_same_and_holds_nothing() -> None:
    luma = np.full((4, 6), 200, np.uint8)
    picture = weakref.ref(luma)
    in_colour = partial(np.repeat, luma[:, :, None], 3, axis=2)
    frame = replace(make_frame(luma, is_full_range=False), load_rgb=in_colour)
    del luma
    without = frame.without_picture()
    assert repr(without) == repr(frame)
    assert (without.captured_at, without.is_full_range) == (frame.captured_at, frame.is_full_range)
    assert not without.luma.any() and not without.rgb().any()
    del frame, in_colour
    assert picture() is None


def test_a_face_is_published_in_stored_pixels() -> None:
    face = Face((8.0, 4.0, 16.0, 12.0), 0.9, tuple((float(2 * x), float(x)) for x in range(5)))
    square = make_frame(np.zeros((48, 64), np.uint8))
    assert square.face_in_stored_pixels(face) is face
    stretched = replace(square, pixel_aspect=2.0, stored_size=(32, 48))
    assert (stretched.stored_width, stretched.stored_height) == (32, 48)
    stored = stretched.face_in_stored_pixels(face)
    assert stored.box_xyxy == (4.0, 4.0, 8.0, 12.0)
    assert stored.landmarks == tuple((float(x), float(x)) for x in range(5))
    assert stretched.without_picture().stored_size == (32, 48)
