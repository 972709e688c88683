"""Orientation: all eight ways to lie, against FFmpeg's own matrices (through the clips) and by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.formats.orientation import UPRIGHT, Orientation, orientation_from_display_matrix

ONE = 1 << 16
PICTURE = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)


def matrix(a: int, b: int, c: int, d: int) -> bytes:
    return struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param((ONE, 0, 0, ONE), [[1, 2, 3], [4, 5, 6]], id="upright"),
        pytest.param((0, ONE, -ONE, 0), [[4, 1], [5, 2], [6, 3]], id="clockwise 90"),
        pytest.param((-ONE, 0, 0, -ONE), [[6, 5, 4], [3, 2, 1]], id="180"),
        pytest.param((0, -ONE, ONE, 0), [[3, 6], [2, 5], [1, 4]], id="counter-clockwise 90"),
        pytest.param((-ONE, 0, 0, ONE), [[3, 2, 1], [6, 5, 4]], id="mirrored left-right"),
        pytest.param((ONE, 0, 0, -ONE), [[4, 5, 6], [1, 2, 3]], id="mirrored up-down"),
        pytest.param((0, ONE, ONE, 0), [[1, 4], [2, 5], [3, 6]], id="transposed"),
        pytest.param((0, -ONE, -ONE, 0), [[6, 3], [5, 2], [4, 1]], id="transposed the other way"),
    ],
)
def test_turns_a_picture(values: tuple[int, int, int, int], expected: list[list[int]]) -> None:
    orientation = orientation_from_display_matrix(matrix(*values))
    assert orientation.apply(PICTURE).tolist() == expected
    assert orientation.apply(np.stack([PICTURE] * 3, axis=2)).shape == (*np.shape(expected), 3)


@pytest.mark.parametrize("content", [b"", b"x" * 35])
def test_no_matrix_is_upright(content: bytes) -> None:
    assert orientation_from_display_matrix(content) == UPRIGHT


@given(st.builds(Orientation, st.booleans(), st.booleans(), st.booleans()))
def test_is_a_view(orientation: Orientation) -> None:
    assert np.shares_memory(orientation.apply(PICTURE), PICTURE)


@given(st.binary(min_size=36, max_size=40))
def test_any_matrix_gives_some_orientation(content: bytes) -> None:
    assert sorted(orientation_from_display_matrix(content).apply(PICTURE).ravel()) == [1, 2, 3, 4, 5, 6]
