"""Halving is the mean of 2×2 blocks."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.geometry.downscale import halved, resized


def test_mean_of_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (36, 50), dtype=np.uint8)
    means = pixels.reshape(18, 2, 25, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(halved(pixels), means, atol=0.5)


def test_odd_row_and_column_are_left_out() -> None:
    pixels = np.zeros((7, 5), np.uint8)
    pixels[6], pixels[:, 4] = 255, 255
    assert halved(pixels).shape == (3, 2)
    assert not halved(pixels).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)], ids=str)
def test_single_lines_stay(shape: tuple[int, int]) -> None:
    assert min(halved(np.full(shape, 9, np.uint8)).shape) == 1


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 5))
def test_flat_stays_flat(width: int, height: int, times: int) -> None:
    small = halved(np.full((height, width), 77, np.uint8), times=times)
    assert small.shape == (max(height >> times, 1), max(width >> times, 1))
    assert (small == 77).all()


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_turned_view_is_resized_as_its_copy_is(
    width: int, height: int, size: tuple[int, int], is_transposed: bool, is_down: bool, is_across: bool
) -> None:
    stored = np.random.default_rng(width).integers(0, 256, (height, width), dtype=np.uint8)
    view = (stored.T if is_transposed else stored)[:: -1 if is_down else 1, :: -1 if is_across else 1]
    # Rounding is from the other side where the picture is mirrored.
    linear = resized(view, size, interpolation=cv2.INTER_LINEAR)
    expected = cv2.resize(view.copy(), size, interpolation=cv2.INTER_LINEAR)
    assert linear.shape == expected.shape == size[::-1]
    np.testing.assert_allclose(linear.astype(int), expected.astype(int), atol=1)
    blocks = view[: height // 2 * 2, : width // 2 * 2] if view.shape == (height, width) else view[:0]
    if blocks.size:
        np.testing.assert_allclose(halved(blocks).astype(int), halved(blocks.copy()).astype(int), atol=1)


def test_a_black_frame_without_pixels_of_its_own() -> None:
    assert not halved(np.broadcast_to(np.uint8(0), (64, 48))).any()
