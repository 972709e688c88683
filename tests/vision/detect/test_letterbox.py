"""The input is large enough for the smallest face, no larger than allowed, and boxes come back where they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.detect.letterbox import Letterbox, choose_letterbox

sides = st.integers(1, 9000)


def choose(width: int, height: int, *, min_face: float = 40, max_pixels: int = 250_000) -> Letterbox:
    return choose_letterbox(
        frame_width=width,
        frame_height=height,
        min_face_pixels=min_face,
        smallest_found_pixels=20,
        stride=32,
        max_input_pixels=max_pixels,
    )


@pytest.mark.parametrize(
    ("size", "min_face", "expected"),
    [
        ((640, 360), 40, (320, 192)),
        ((1920, 1080), 120, (320, 192)),
        ((360, 640), 40, (192, 320)),
        ((640, 360), 10, (640, 384)),
        ((1, 1), 40, (32, 32)),
    ],
    ids=["half", "sixth", "upright", "never enlarged", "one pixel"],
)
def test_input_size(size: tuple[int, int], min_face: float, expected: tuple[int, int]) -> None:
    letterbox = choose(*size, min_face=min_face)
    assert (letterbox.input_width, letterbox.input_height) == expected


@given(sides, sides, st.floats(12, 2000))
def test_limits_hold_for_any_frame(width: int, height: int, min_face: float) -> None:
    letterbox = choose(width, height, min_face=min_face)
    assert letterbox.input_width % 32 == 0
    assert letterbox.input_height % 32 == 0
    # Rounding up to the stride may exceed the bound, by less than one stride on either side.
    excess = 32 * (letterbox.input_width + letterbox.input_height)
    assert letterbox.input_width * letterbox.input_height <= 250_000 + excess
    assert 1 <= letterbox.picture_width <= letterbox.input_width
    assert 1 <= letterbox.picture_height <= letterbox.input_height
    assert letterbox.scale_x <= 1 and letterbox.scale_y <= 1
    if width * height < 250_000:  # then the smallest face is large enough, but for rounding to whole pixels
        scale = min(20 / min_face, 1)
        assert letterbox.picture_width >= width * scale - 0.5
        assert letterbox.picture_height >= height * scale - 0.5


@given(sides, sides, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=5))
def test_points_come_back(width: int, height: int, relative: list[tuple[float, float]]) -> None:
    letterbox = choose(width, height)
    points = np.array(relative).reshape(-1, 2) * [width, height]
    in_input = points * [letterbox.picture_width / width, letterbox.picture_height / height]
    np.testing.assert_allclose(letterbox.to_frame(in_input), points, rtol=1e-9, atol=1e-6)


def test_picture_is_at_the_top_left_and_the_rest_is_black() -> None:
    padded = choose(640, 360).shrink(np.full((360, 640), 200, np.uint8))
    assert padded.shape == (192, 320)
    assert (padded[:180] == 200).all()
    assert (padded[180:] == 0).all()


def test_shrinking_averages() -> None:
    checkerboard = (np.indices((360, 640)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert (choose(640, 360).shrink(checkerboard)[:180] == 100).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 270), (480, 288)), ((320, 180), (320, 192)), ((640, 360), (480, 288)), ((1920, 1080), (960, 544))],
    ids=["as it is", "never enlarged for it", "shrunk to it", "larger anyway"],
)
def test_small_frames_are_hardly_shrunk(size: tuple[int, int], expected: tuple[int, int]) -> None:
    letterbox = choose_letterbox(
        frame_width=size[0],
        frame_height=size[1],
        min_face_pixels=40,
        smallest_found_pixels=20,
        stride=32,
        max_input_pixels=1_000_000,
        min_input_pixels=480 * 270,
    )
    assert (letterbox.input_width, letterbox.input_height) == expected
