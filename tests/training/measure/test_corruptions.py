"""Corruptions: five strengths, the same for the same seed, worse when stronger, input untouched."""

from __future__ import annotations

import numpy as np
import pytest

from training.measure.corruptions import CORRUPTIONS, FACE_SIZES_PIXELS, Corruption, shrink_faces

NAMES = [corruption.name for corruption in CORRUPTIONS]
LIGHT = {"light from a side", "low contrast", "darkness", "overexposure"}


def smooth_pictures(num: int = 24, *, side: int = 48) -> np.ndarray:
    """Pictures with structure of all sizes and no flat level: sums of waves, and some noise."""
    random = np.random.default_rng(5)
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    pictures = 110 + random.normal(0, 4, size=(num, side, side))
    for k in range(num):
        for _ in range(6):
            frequency, phase = random.uniform(-0.5, 0.5, size=2), random.uniform(0, 7)
            pictures[k] += 14 * np.sin(across * frequency[0] + down * frequency[1] + phase)
    return np.clip(pictures, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_five_strengths_each_further_from_the_picture(corruption: Corruption) -> None:
    pictures = smooth_pictures()
    before = pictures.copy()
    distances = []
    for strength in corruption.strengths:
        spoiled = corruption(pictures, strength=strength)
        assert spoiled.shape == pictures.shape
        assert spoiled.dtype == np.uint8
        distances.append(float(np.abs(spoiled.astype(float) - pictures).mean()))
    assert len(corruption.strengths) == 5
    assert distances[0] > 0
    assert distances == sorted(distances)
    assert (pictures == before).all()


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_the_seed_decides(corruption: Corruption) -> None:
    pictures, strength = smooth_pictures(), corruption.strengths[-1]
    assert (corruption(pictures, strength=strength) == corruption(pictures, strength=strength)).all()
    is_random = corruption.name not in {"low contrast", "overexposure", "blur", "JPEG", "low resolution"}
    differs = (corruption(pictures, strength=strength) != corruption(pictures, strength=strength, seed=1)).any()
    assert differs == is_random


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_the_number_of_pictures_does_not_matter_and_neither_does_a_flat_one(corruption: Corruption) -> None:
    flat = np.full((1, 48, 48), 90, dtype=np.uint8)
    assert corruption(flat, strength=corruption.strengths[2]).shape == flat.shape
    assert corruption(flat[:0], strength=corruption.strengths[2]).shape == (0, 48, 48)


def test_whole_numbers_are_no_reason_to_overflow() -> None:
    """uint8 times an int stays uint8 in NumPy: a gain of 2 must not turn white into black."""
    by_name = {corruption.name: corruption for corruption in CORRUPTIONS}
    bright = np.full((1, 48, 48), 200, dtype=np.uint8)
    assert (by_name["overexposure"](bright, strength=2) == 255).all()


def test_rotation_turns_by_the_angle_about_the_centre() -> None:
    by_name = {corruption.name: corruption for corruption in CORRUPTIONS}
    picture = np.zeros((1, 49, 49), dtype=np.uint8)
    picture[0, 24, 34:40] = 255  # ten pixels and more to the right of the centre
    rows, columns = np.nonzero(by_name["rotation"](picture, strength=30.0)[0] > 60)
    degrees = np.degrees(np.arctan2(rows.mean() - 24, columns.mean() - 24))
    assert abs(degrees) == pytest.approx(30, abs=2)


def test_occlusion_covers_its_share() -> None:
    by_name = {corruption.name: corruption for corruption in CORRUPTIONS}
    pictures = smooth_pictures()
    covered = (by_name["occlusion"](pictures, strength=0.25) != pictures).mean()
    assert covered == pytest.approx(0.25, abs=0.02)


def test_faces_shrink_to_every_size_and_keep_their_mean() -> None:
    pictures = smooth_pictures()
    for size in FACE_SIZES_PIXELS:
        small = shrink_faces(pictures, size=size)
        assert small.shape == (len(pictures), size, size)
        assert small.mean() == pytest.approx(pictures.mean(), abs=1)
    assert FACE_SIZES_PIXELS[0] == 48
    assert FACE_SIZES_PIXELS[-1] == 12
