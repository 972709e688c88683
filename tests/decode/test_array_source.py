"""Pictures that a program holds, in the forms that programs hold them in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from emostream.decode.array_source import ArraySource, rgb_from_array
from emostream.errors import SourceRejectedError

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(
    ("array", "order"),
    [
        (RGB, "rgb"),
        (RGB[:, :, ::-1], "bgr"),
        (np.dstack([RGB, np.zeros((2, 3), np.uint8)]), "rgb"),
        (np.asfortranarray(RGB), "rgb"),
    ],
    ids=["rgb", "bgr", "rgba", "column-major"],
)
def test_colours(array: npt.NDArray[np.uint8], order: Any) -> None:
    assert np.array_equal(rgb_from_array(array, order=order), RGB)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_gray_is_repeated(shape: tuple[int, ...]) -> None:
    gray = np.arange(6, dtype=np.uint8).reshape(shape)
    assert np.array_equal(rgb_from_array(gray), np.repeat(gray.reshape(2, 3, 1), 3, axis=2))


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.float32),
        RGB.astype(np.uint16),
        RGB > 3,
        np.zeros((3, 8, 9), np.uint8),
        RGB[None],
        RGB.reshape(-1),
        np.zeros((0, 3), np.uint8),
        np.zeros((2, 3, 2), np.uint8),
    ],
    ids=["float", "16-bit", "bool", "colours-first", "batch", "flat", "empty", "two-colours"],
)
def test_another_shape_or_dtype_is_refused(array: npt.NDArray[Any]) -> None:
    with pytest.raises(SourceRejectedError):
        rgb_from_array(array)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(SourceRejectedError):
        rgb_from_array(RGB, order="hsv")  # type: ignore[arg-type]


def test_one_frame_with_its_colours() -> None:
    with ArraySource(RGB, stream_id="picture") as source:
        (frame,) = source
    assert (source.info.width, source.info.height, source.stats.num_decoded) == (3, 2, 1)
    assert (frame.stream_id, frame.frame_index, frame.pts_seconds) == ("picture", 0, 0.0)
    assert np.array_equal(frame.rgb(), RGB)
    weights = RGB @ np.array([0.299, 0.587, 0.114])
    assert np.abs(frame.luma - weights).max() <= 1
