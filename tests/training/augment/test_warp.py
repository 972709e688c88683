"""Augmentation: shape, range, same seed same result, and that each picture is varied on its own."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.errors import ConfigError
from training.augment.photometry import add_noise, blur, compress, light_from_one_side, lower_resolution, occlude
from training.augment.warp import augment, draw_matrices, mix, mixup_shares, warp
from training.config import AugmentConfig, load_config

NOTHING = AugmentConfig(
    flip_probability=0,
    rotation_degrees=0,
    scale_ratio=0,
    shift_ratio=0,
    shear_ratio=0,
    perspective_ratio=0,
    brightness_levels=0,
    contrast_ratio=0,
    gamma_ratio=0,
    uneven_light_probability=0,
    blur_probability=0,
    low_resolution_probability=0,
    noise_probability=0,
    jpeg_probability=0,
    erase_probability=0,
)


def crops(num: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (num, 64, 64), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ratio = st.floats(0, 0.45)
probability = st.floats(0, 1)
configs = st.builds(
    AugmentConfig,
    rotation_degrees=st.floats(0, 180),
    scale_ratio=ratio,
    shift_ratio=ratio,
    shear_ratio=ratio,
    perspective_ratio=ratio,
    uneven_light_probability=probability,
    uneven_light_ratio=st.floats(0, 1),
    blur_probability=probability,
    low_resolution_probability=probability,
    noise_probability=probability,
    jpeg_probability=probability,
    erase_probability=probability,
)


@settings(deadline=None, max_examples=10)
@given(configs, st.integers(0, 2**31), st.sampled_from([16, 48, 64]))
def test_keeps_shape_and_range_and_its_input(config: AugmentConfig, seed: int, side: int) -> None:
    batch = crops(3)
    result = augment(batch, config, seeded(seed), side=side)
    assert result.shape == (3, 1, side, side)
    assert result.dtype == torch.float32
    assert float(result.min()) >= 0
    assert float(result.max()) <= 255
    assert torch.equal(batch, crops(3))
    assert torch.equal(result, augment(batch, config, seeded(seed), side=side))


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


@pytest.mark.parametrize("setting", ["shear_ratio", "perspective_ratio"])
def test_misplaced_landmarks_leave_the_middle_where_it_is(setting: str) -> None:
    config = dataclasses.replace(NOTHING, **{setting: 0.2})  # type: ignore[arg-type]
    matrices = draw_matrices(50, config, seeded())
    middle = matrices @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(middle, torch.tensor([[0.0, 0.0, 1.0]]).expand(50, 3))
    corner = matrices @ torch.tensor([1.0, 1.0, 1.0])
    moved = (corner[:, :2] / corner[:, 2:] - 1).abs().max()
    assert 0.05 < float(moved) <= 0.25


def test_perspective_draws_one_side_larger() -> None:
    # Of a band across the picture, the share of each column it fills: it widens to one side.
    batch = torch.zeros(20, 1, 64, 64)
    batch[..., 20:44, :] = 1.0
    result = warp(batch, dataclasses.replace(NOTHING, perspective_ratio=0.4), seeded())
    ratio = result[:, 0, :, 2].sum(dim=1) / result[:, 0, :, -3].sum(dim=1)
    assert float(ratio.min()) < 0.85
    assert float(ratio.max()) > 1.15
    # Of sides drawn 1 ± 0.2 as large.
    assert float(ratio.log().abs().max()) <= 1.05 * math.log(1.2 / 0.8)


def test_occlusion_leaves_most_of_the_picture() -> None:
    batch = torch.full((64, 1, 64, 64), -1.0)
    covered = occlude(batch, AugmentConfig(erase_probability=1, max_erase_ratio=0.4), seeded()) != -1
    shares = covered.float().mean(dim=(1, 2, 3))
    assert float(shares.min()) > 0
    assert float(shares.max()) <= 0.42**2


def test_light_from_one_side_is_brighter_there_and_equal_in_the_middle() -> None:
    batch = torch.full((40, 1, 65, 65), 100.0)
    config = AugmentConfig(uneven_light_probability=1, uneven_light_ratio=0.5)
    lit = light_from_one_side(batch, config, seeded())
    torch.testing.assert_close(lit[:, 0, 32, 32], torch.full((40,), 100.0))
    torch.testing.assert_close(lit.mean(dim=(1, 2, 3)), torch.full((40,), 100.0), atol=0.01, rtol=0)
    rise = (lit.amax(dim=(1, 2, 3)) - 100).sort().values
    assert float(rise[0]) < 10
    assert 40 < float(rise[-1]) <= 50 * 2**0.5 + 0.01


def smooth_crops() -> torch.Tensor:
    place = torch.arange(64.0)
    return (128 + 60 * torch.sin(place / 9)[:, None] * torch.cos(place / 7)).expand(8, 1, 64, 64).contiguous()


def test_jpeg_changes_a_smooth_picture_a_little() -> None:
    config = AugmentConfig(jpeg_probability=1, min_jpeg_quality=20)
    batch = smooth_crops()
    error = (compress(batch, config, seeded()) - batch).abs().mean(dim=(1, 2, 3))
    assert float(error.min()) > 0.05
    assert float(error.max()) < 6


@pytest.mark.parametrize("function", [add_noise, compress, light_from_one_side, lower_resolution, occlude])
def test_nothing_is_changed_at_probability_0_and_the_input_never(function: object) -> None:
    batch = smooth_crops()
    assert torch.equal(function(batch, NOTHING, seeded()), batch)  # type: ignore[operator]
    always = AugmentConfig(
        noise_probability=1,
        jpeg_probability=1,
        uneven_light_probability=1,
        low_resolution_probability=1,
        erase_probability=1,
    )
    assert not torch.equal(function(batch, always, seeded()), batch)  # type: ignore[operator]
    assert torch.equal(batch, smooth_crops())


def test_blur_smooths() -> None:
    batch = crops(4)[:, None].to(torch.float32)
    assert torch.equal(blur(batch, 0, seeded()), batch)
    assert float(blur(batch, 1, seeded()).std()) < 0.9 * float(batch.std())


def test_mixup_shares_keep_the_greater_part() -> None:
    share, partner = mixup_shares(200, AugmentConfig(mixup_probability=0.5), seeded())
    assert float(share.min()) >= 0.5
    assert float(share.max()) <= 1
    assert 50 <= int((share < 1).sum()) <= 130
    assert sorted(partner.tolist()) == list(range(200))


def test_mixed_pictures_carry_the_labels_of_what_they_show() -> None:
    # Each picture has a level of its own, so its mean says how much of which it shows.
    levels = torch.arange(40, dtype=torch.float32)
    batch = levels[:, None, None, None].expand(40, 1, 32, 32).contiguous()
    config = AugmentConfig(mixup_probability=0.4, cutmix_probability=0.7)
    mixed, share, partner = mix(batch, config, seeded())
    expected = share * levels + (1 - share) * levels[partner]
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-4, rtol=0)
    assert float(share.min()) >= 0.5
    patched = (mixed.amax(dim=(1, 2, 3)) - mixed.amin(dim=(1, 2, 3))) > 0.5
    assert 5 < int(patched.sum()) < 35
    assert torch.equal(mixed, mix(batch, config, seeded())[0])


def test_without_mixing_the_batch_comes_back() -> None:
    batch = smooth_crops()
    mixed, share, _ = mix(batch, AugmentConfig(mixup_probability=0, cutmix_probability=0), seeded())
    assert mixed is batch
    assert torch.equal(share, torch.ones(8))


@pytest.mark.parametrize("setting", ["jpeg_probability=1.5", "mixup_alpha=0"])
def test_impossible_settings_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides=(f"augment.{setting}",))
    assert f"augment.{setting.partition('=')[0]}" in str(caught.value)
