"""Augmentation: shape, range, same seed same result, and that each picture is varied on its own."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from training.config import AugmentConfig
from training.transforms import augment, erase, mixup_shares, warp

NOTHING = AugmentConfig(
    flip_probability=0,
    rotation_degrees=0,
    scale_ratio=0,
    shift_ratio=0,
    brightness_levels=0,
    contrast_ratio=0,
    gamma_ratio=0,
    blur_probability=0,
    low_resolution_probability=0,
    noise_probability=0,
    erase_probability=0,
)


def crops(num: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (num, 64, 64), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(5))
def test_keeps_shape_and_range_and_its_input(seed: int) -> None:
    batch = crops()
    everything = AugmentConfig(
        blur_probability=1, low_resolution_probability=1, noise_probability=1, erase_probability=1
    )
    result = augment(batch, everything, seeded(seed))
    assert result.shape == (16, 1, 64, 64)
    assert result.dtype == torch.float32
    assert float(result.min()) >= 0
    assert float(result.max()) <= 255
    assert torch.equal(batch, crops())


def test_the_same_seed_gives_the_same_batch() -> None:
    first = augment(crops(), AugmentConfig(), seeded())
    assert torch.equal(first, augment(crops(), AugmentConfig(), seeded()))
    assert not torch.equal(first, augment(crops(), AugmentConfig(), seeded(6)))


def test_equal_pictures_are_varied_differently() -> None:
    result = augment(crops(1).expand(4, -1, -1), AugmentConfig(), seeded())
    assert len({float(picture.sum()) for picture in result}) == 4


def test_with_everything_off_the_picture_stays() -> None:
    torch.testing.assert_close(augment(crops(), NOTHING, seeded())[:, 0], crops().to(torch.float32), atol=0.05, rtol=0)


def test_flip_mirrors_left_and_right() -> None:
    batch = crops()[:, None].to(torch.float32)
    mirrored = warp(batch, dataclasses.replace(NOTHING, flip_probability=1), seeded())
    torch.testing.assert_close(mirrored, batch.flip(3), atol=0.05, rtol=0)


def test_shift_repeats_the_border() -> None:
    batch = torch.full((8, 1, 64, 64), 77.0)
    result = warp(batch, dataclasses.replace(NOTHING, shift_ratio=0.3, rotation_degrees=30), seeded())
    torch.testing.assert_close(result, batch)


def test_erasing_leaves_most_of_the_picture() -> None:
    batch = torch.full((64, 1, 64, 64), -1.0)
    erased = erase(batch, AugmentConfig(erase_probability=1, max_erase_ratio=0.4), seeded()) != -1
    shares = erased.float().mean(dim=(1, 2, 3))
    assert float(shares.min()) > 0
    assert float(shares.max()) <= 0.42**2


def test_mixup_shares_keep_the_greater_part() -> None:
    share, partner = mixup_shares(200, AugmentConfig(mixup_probability=0.5), seeded())
    assert float(share.min()) >= 0.5
    assert float(share.max()) <= 1
    assert 50 <= int((share < 1).sum()) <= 130
    assert sorted(partner.tolist()) == list(range(200))
