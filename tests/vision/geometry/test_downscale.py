"""Halving is the mean of 2×2 blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.geometry.downscale import halved


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
