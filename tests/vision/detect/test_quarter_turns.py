"""Faces of a turned picture are where the picture itself shows them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.detect.quarter_turns import QUARTERS, turned_back, turned_picture
from tests.vision.detect.bright_detector import face_at


@pytest.mark.parametrize("quarters", QUARTERS)
@given(data=st.data())
def test_a_face_keeps_its_pixels(quarters: int, data: st.DataObject) -> None:
    width, height = data.draw(st.integers(8, 40)), data.draw(st.integers(8, 40))
    numbers = np.arange(width * height, dtype=np.uint16).reshape(height, width)
    turned = np.rot90(numbers, quarters)
    y0, x0 = data.draw(st.integers(0, turned.shape[0] - 3)), data.draw(st.integers(0, turned.shape[1] - 3))
    y1 = data.draw(st.integers(y0 + 2, turned.shape[0]))
    x1 = data.draw(st.integers(x0 + 2, turned.shape[1]))
    (face,) = turned_back([face_at((x0, y0, x1, y1))], quarters, width=width, height=height)
    left, top, right, bottom = (int(value) for value in face.box_xyxy)
    assert np.array_equal(np.rot90(numbers[top:bottom, left:right], quarters), turned[y0:y1, x0:x1])


@pytest.mark.parametrize("quarters", range(5))
def test_landmarks_keep_their_names_and_pixels(quarters: int) -> None:
    face = face_at((4, 6, 24, 30))
    luma = np.zeros((40, 64), dtype=np.uint8)
    turned = turned_picture(luma, quarters)
    assert turned.shape == np.rot90(luma, quarters).shape
    for number, (x, y) in enumerate(face.landmarks):
        marked = np.zeros_like(turned)
        marked[int(y), int(x)] = 1
        (found,) = turned_back([face], quarters, width=64, height=40)
        back = np.rot90(marked, -quarters)
        ((row, column),) = np.argwhere(back)
        assert found.landmarks[number] == pytest.approx((column + 0.5, row + 0.5), abs=1.0)
