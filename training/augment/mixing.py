"""Pictures made of two pictures, and how much of each label they carry."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from training.augment.photometry import rectangle
from training.augment.random import chosen, gamma, uniform
from training.config import AugmentConfig

MAX_PATCH_AREA = 0.5
"""Largest part of a picture that comes from another: the first always keeps the greater share, as in `mixup_shares`."""


def mix(batch: Tensor, config: AugmentConfig, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mix some pictures up (Zhang and others, mixup, 2018) or cut a patch of another into them (Yun and others, CutMix,
    2019), never both.

    Args:
        batch: float32 n×1×s×s.
        config: probabilities; with both at 0 nothing is drawn and the batch comes back as it is.
        generator: where random numbers come from.

    Returns:
        (mixed batch, share float32 n, partner int64 n): the labels of picture k are `share[k]` of its own and the rest
        of picture `partner[k]`.
    """
    if config.mixup_probability == 0 and config.cutmix_probability == 0:
        return batch, torch.ones(len(batch)), torch.arange(len(batch))
    share, partner = mixup_shares(len(batch), config, generator)
    mixed = torch.lerp(batch[partner], batch, share[:, None, None, None])
    if config.cutmix_probability == 0:
        return mixed, share, partner
    patch = _patches(len(batch), batch.shape[-1], generator)
    patch &= (chosen(len(batch), config.cutmix_probability, generator) & (share == 1))[:, None, None]
    share = share - patch.to(torch.float32).mean(dim=(1, 2))
    return torch.where(patch[:, None], batch[partner], mixed), share, partner


def mixup_shares(count: int, config: AugmentConfig, generator: Generator) -> tuple[Tensor, Tensor]:
    """(share float32 n in 0.5…1, partner int64 n): each picture keeps its share and takes the rest from its partner.

    A beta draw of two equal parameters from a seeded generator: the ratio of two gamma draws.
    """
    partner = torch.randperm(count, generator=generator)
    first = gamma(count, config.mixup_alpha, generator)
    second = gamma(count, config.mixup_alpha, generator)
    share = first / (first + second).clamp(min=1e-8)
    share = torch.maximum(share, 1 - share)
    mixed = chosen(count, config.mixup_probability, generator)
    return torch.where(mixed, share, torch.ones_like(share)), partner


def _patches(count: int, side: int, generator: Generator) -> Tensor:
    """bool n×side×side: a rectangle somewhere inside, of an evenly drawn area and of sides up to 1 to 2."""
    area = uniform(count, 0.0, MAX_PATCH_AREA, generator)
    stretch = torch.exp2(uniform(count, -0.5, 0.5, generator))
    # Whole pixels, rounded down, so that the area is never larger than drawn.
    height = (torch.sqrt(area * stretch).clamp(max=1.0) * side).floor()
    width = (torch.sqrt(area / stretch).clamp(max=1.0) * side).floor()
    top = (torch.rand(count, generator=generator) * (side - height + 1)).floor()
    left = (torch.rand(count, generator=generator) * (side - width + 1)).floor()
    return rectangle(top, left, height, width, side=side)
