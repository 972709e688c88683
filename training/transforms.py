"""Augmentation of training crops, a whole batch at a time.

torchvision's transforms draw one set of parameters for a batch, or must be looped over pictures in Python; on two cores
that loop costs more than the network. Here each picture has its own parameters and the batch is one tensor. Everything
is before the model's own standardisation and after `emostream.classify.preprocess`, which evaluation and serving use
alone.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.config import AugmentConfig


def augment(crops: Tensor, config: AugmentConfig, generator: Generator, *, side: int | None = None) -> Tensor:
    """uint8 n×s×s → float32 n×1×side×side in 0…255, each picture varied on its own; the input is not changed.

    `side` is that of the crops when not given.
    """
    batch = crops[:, None].to(torch.float32)
    batch = warp(batch, config, generator, side=side)
    batch = change_light(batch, config, generator)
    batch = blur(batch, config.blur_probability, generator)
    batch = lower_resolution(batch, config, generator)
    batch = add_noise(batch, config, generator)
    batch = erase(batch, config, generator)
    return batch.clamp_(0.0, 255.0)


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _chosen(count: int, probability: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < probability


def warp(batch: Tensor, config: AugmentConfig, generator: Generator, *, side: int | None = None) -> Tensor:
    """Flip, rotate, zoom (a little differently along both sides), shift and resample to `side`.

    Past the border the edge is repeated.
    """
    count = len(batch)
    shape = [count, 1, side or batch.shape[-2], side or batch.shape[-1]]
    angle = _uniform(count, -config.rotation_degrees, config.rotation_degrees, generator) * (math.pi / 180)
    scale = _uniform(count, 1 - config.scale_ratio, 1 + config.scale_ratio, generator)
    stretch = _uniform(count, 1 - config.scale_ratio / 3, 1 + config.scale_ratio / 3, generator)
    flip = 1.0 - 2.0 * _chosen(count, config.flip_probability, generator).to(torch.float32)
    # affine_grid works on −1…1, so a shift by a share of the side is twice that.
    shift_x = _uniform(count, -2 * config.shift_ratio, 2 * config.shift_ratio, generator)
    shift_y = _uniform(count, -2 * config.shift_ratio, 2 * config.shift_ratio, generator)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    matrix = torch.stack(
        [
            torch.stack([cosine * flip * stretch, -sine, shift_x], dim=1),
            torch.stack([sine * flip * stretch, cosine, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, shape, align_corners=False)
    return functional.grid_sample(batch, grid, mode="bilinear", padding_mode="border", align_corners=False)


def change_light(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Gamma, then contrast about the picture's mean, then brightness."""
    count = len(batch)
    spread = math.log1p(config.gamma_ratio)
    gamma = torch.exp(_uniform(count, -spread, spread, generator))[:, None, None, None]
    contrast = _uniform(count, 1 - config.contrast_ratio, 1 + config.contrast_ratio, generator)[:, None, None, None]
    levels = config.brightness_levels
    brightness = _uniform(count, -levels, levels, generator)[:, None, None, None]
    batch = (batch.clamp(0.0, 255.0) / 255.0).pow(gamma) * 255.0
    mean = batch.mean(dim=(2, 3), keepdim=True)
    return (batch - mean) * contrast + mean + brightness


def blur(batch: Tensor, probability: float, generator: Generator) -> Tensor:
    """Blend with a 5×5 binomial blur by a random share, in some pictures."""
    count = len(batch)
    share = _uniform(count, 0.3, 1.0, generator) * _chosen(count, probability, generator)
    index = torch.nonzero(share > 0).flatten()
    if len(index) == 0:
        return batch
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    kernel = (line[:, None] * line[None, :])[None, None]
    chosen = batch[index]
    blurred = functional.conv2d(functional.pad(chosen, (2, 2, 2, 2), mode="replicate"), kernel)
    return batch.index_copy(0, index, torch.lerp(chosen, blurred, share[index][:, None, None, None]))


def lower_resolution(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Shrink some pictures and enlarge them again, as a small far face is: one size a call."""
    index = torch.nonzero(_chosen(len(batch), config.low_resolution_probability, generator)).flatten()
    side = batch.shape[-1]
    # Drawn even when no picture was chosen, so that the stream of random numbers does not depend on the choice.
    smallest = min(config.min_low_resolution_pixels, side)
    pixels = int(torch.randint(smallest, side + 1, (1,), generator=generator))
    if len(index) == 0:
        return batch
    small = functional.interpolate(batch[index], size=(pixels, pixels), mode="bilinear", antialias=True)
    back = functional.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)
    return batch.index_copy(0, index, back)


def add_noise(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Gaussian noise of a random strength, in some pictures."""
    count = len(batch)
    chosen = _chosen(count, config.noise_probability, generator)
    strength = _uniform(count, 0.0, config.noise_levels, generator) * chosen
    index = torch.nonzero(chosen).flatten()
    if len(index) == 0:
        return batch
    noise = torch.randn((len(index), *batch.shape[1:]), generator=generator) * strength[index][:, None, None, None]
    return batch.index_copy(0, index, batch[index] + noise)


def erase(batch: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """A rectangle of a random level over a part of some pictures: hands, hair, microphones."""
    count, side = len(batch), batch.shape[-1]
    chosen = _chosen(count, config.erase_probability, generator)
    height = _uniform(count, 0.1, max(config.max_erase_ratio, 0.1), generator) * side
    width = _uniform(count, 0.1, max(config.max_erase_ratio, 0.1), generator) * side
    top = torch.rand(count, generator=generator) * (side - height)
    left = torch.rand(count, generator=generator) * (side - width)
    level = _uniform(count, 0.0, 255.0, generator)[:, None, None, None]
    place = torch.arange(side)
    rows = (place >= top[:, None]) & (place < (top + height)[:, None])
    columns = (place >= left[:, None]) & (place < (left + width)[:, None])
    mask = (rows[:, :, None] & columns[:, None, :] & chosen[:, None, None])[:, None]
    return torch.where(mask, level, batch)


def mixup_shares(count: int, config: AugmentConfig, generator: Generator) -> tuple[Tensor, Tensor]:
    """(share float32 n in 0.5…1, partner int64 n): each picture keeps its share and takes the rest from its partner.

    A beta draw of two equal parameters from a seeded generator: the ratio of two gamma draws.
    """
    partner = torch.randperm(count, generator=generator)
    first = _gamma(count, config.mixup_alpha, generator)
    second = _gamma(count, config.mixup_alpha, generator)
    share = first / (first + second).clamp(min=1e-8)
    share = torch.maximum(share, 1 - share)
    chosen = _chosen(count, config.mixup_probability, generator)
    return torch.where(chosen, share, torch.ones_like(share)), partner


def _gamma(count: int, alpha: float, generator: Generator) -> Tensor:
    # torch has no gamma draw with a public generator argument; its operator takes one.
    return torch._standard_gamma(torch.full((count,), alpha), generator=generator)
