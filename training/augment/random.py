"""Random draws of augmentation, one for each picture of a batch, from a seeded generator: same seed, same batch."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """float32 n, evenly between low and high."""
    return torch.rand(count, generator=generator) * (high - low) + low


def chosen(count: int, probability: float, generator: Generator) -> Tensor:
    """bool n, each true with this probability."""
    return torch.rand(count, generator=generator) < probability


def gamma(count: int, alpha: float, generator: Generator) -> Tensor:
    """float32 n from a gamma distribution of this shape; two of them make a beta draw."""
    # torch has no gamma draw with a public generator argument; its operator takes one.
    return torch._standard_gamma(torch.full((count,), alpha), generator=generator)
