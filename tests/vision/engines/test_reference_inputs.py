"""The golden crops: the same everywhere, different from each other, in any size."""

from __future__ import annotations

import numpy as np
import pytest

from emostream.vision.engines.reference_inputs import reference_crops, reference_frame


@pytest.mark.parametrize("size", [48, 64])
def test_crops_have_the_given_size(size: int) -> None:
    crops = reference_crops(size=size, num_crops=20)
    assert crops.shape == (20, size, size)
    assert crops.dtype == np.uint8
    assert not crops.flags.writeable


def test_they_are_the_same_each_time_and_a_longer_set_begins_with_them() -> None:
    first = reference_crops(size=64, num_crops=10)
    reference_crops.cache_clear()
    np.testing.assert_array_equal(reference_crops(size=64, num_crops=10), first)
    np.testing.assert_array_equal(reference_crops(size=64, num_crops=30)[:10], first)


def test_they_are_pictures_and_no_two_are_alike() -> None:
    crops = reference_crops(size=64, num_crops=64).astype(np.float64)
    assert crops.std(axis=(1, 2)).min() > 5
    distances = np.abs(crops[:, None] - crops[None]).mean(axis=(2, 3)) + 255 * np.eye(len(crops))
    assert distances.min() > 4


def test_another_size_shows_the_same_faces() -> None:
    small, large = reference_crops(size=32, num_crops=16), reference_crops(size=64, num_crops=16)
    halved = large.reshape(16, 32, 2, 32, 2).mean(axis=(2, 4))
    assert np.abs(small - halved).mean() < 12  # noise is drawn anew for each pixel


def test_the_frame_holds_faces_that_the_detector_finds() -> None:
    from tests.vision.detect.real_model import real_detector

    sizes = [face.height for face in real_detector(min_face_pixels=20).detect(reference_frame())]
    assert len(sizes) >= 3
    assert max(sizes) > 2 * min(sizes)
