"""Sharpness-aware minimisation (Foret et al., 2021): descend by the gradient at the worst point nearby.

Weights where the loss is low all around transfer better than those at the bottom of a narrow valley. The worst point
within a small radius is about one step up the gradient, so each training step computes two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextlib.contextmanager
def worst_neighbour(parameters: Iterable[nn.Parameter], *, radius: float) -> Iterator[None]:
    """Inside, the weights are moved up their gradients by `radius` in all; behind, they are exactly what they were.

    The gradients may be scaled (only their direction counts) and are cleared, ready for those of the neighbour. When
    they are not finite nothing moves.
    """
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    # Copies, not a step back: a rounding error would let the weights of several processes drift apart.
    kept = [parameter.detach().clone() for parameter in moved]
    with torch.no_grad():
        gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
        share = torch.where(torch.isfinite(norm), radius / norm.clamp(min=1e-12), torch.zeros_like(norm))
        for parameter, gradient in zip(moved, gradients, strict=True):
            # Zero times infinity is no number; nan_to_num keeps such a step away as the share of 0 intends.
            parameter.add_(torch.nan_to_num(gradient * share, nan=0.0, posinf=0.0, neginf=0.0))
            parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(moved, kept, strict=True):
                parameter.copy_(value)


@contextlib.contextmanager
def unchanged_batch_statistics(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms use the batch's statistics as ever but do not add them to their running ones."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
