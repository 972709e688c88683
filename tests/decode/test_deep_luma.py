"""Luma of more than 8 bits is rounded to 8 in its own range."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from emostream.decode.pixels import PictureReader, deep_luma_scale

_LIMITED, _FULL = 1, 2


def _picture(pixel_format: str, *, color_range: int) -> tuple[av.VideoFrame, np.ndarray]:
    """A picture of every level that 8 bits have, and these levels, as samples of the format."""
    picture = av.VideoFrame(256, 8, pixel_format)
    picture.color_range = color_range
    bits = picture.format.components[0].bits
    shift = 16 - bits if pixel_format.startswith("p0") else 0
    samples = np.tile((np.arange(256, dtype=np.uint32) << (bits - 8)) << shift, (8, 1)).astype("<u2")
    plane = picture.planes[0]
    rows = np.zeros((8, plane.line_size // 2), "<u2")
    rows[:, :256] = samples
    plane.update(rows.tobytes()[: plane.buffer_size])
    return picture, np.tile(np.arange(256), (8, 1))


@pytest.mark.parametrize("color_range", [_LIMITED, _FULL], ids=["limited", "full"])
@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p10le", "yuv444p12le", "p010le"])
def test_levels_and_range_are_kept(pixel_format: str, color_range: int) -> None:
    picture, levels = _picture(pixel_format, color_range=color_range)
    pixels = PictureReader(VideoReformatter).read(picture)
    np.testing.assert_array_equal(pixels.luma, levels)
    assert pixels.is_full_range == (color_range == _FULL)
    assert not pixels.luma.flags.writeable


def test_the_brightest_sample_stays_white() -> None:
    picture, _ = _picture("yuv420p10le", color_range=_FULL)
    plane = picture.planes[0]
    plane.update(np.full(plane.buffer_size // 2, 1023, "<u2").tobytes())
    assert (PictureReader(VideoReformatter).read(picture).luma == 255).all()


@pytest.mark.parametrize("pixel_format", ["yuv420p", "gray10le", "yuv420p10be", "gbrp10le", "rgb48le", "y210le"])
def test_other_formats_are_left_to_the_converter(pixel_format: str) -> None:
    assert deep_luma_scale(av.VideoFrame(16, 16, pixel_format).format) is None
