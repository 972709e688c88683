"""Rare classes: pictures that weigh more, or logits that know how frequent their classes are.

FER2013 has 16 happy faces for one that is disgusted. Either remedy raises the recall of rare classes and costs overall
accuracy, which is why neither is the default; balanced accuracy in the report says what it brought.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from training.config import BalanceConfig
from training.loss import Targets


def class_counts(target: Tensor, weight: Tensor) -> Tensor:
    """float64 c: how many pictures each class has, from distributions n×c and weights n (0: not known)."""
    return (target * weight[:, None]).sum(dim=0, dtype=torch.float64)


def effective_number_weights(counts: Tensor, *, beta: float) -> Tensor:
    """Class weights by the effective number of samples (Cui et al., 2019), float64 c.

    A further picture of a class that has many is mostly a repetition: n pictures count as (1 − βⁿ) / (1 − β). Weights
    are the inverse of that, with a mean of 1 over all pictures, so that the learning rate keeps its meaning. A class
    without pictures gets 0.
    """
    effective = (1.0 - beta**counts) / (1.0 - beta)
    weights = torch.where(counts > 0, 1.0 / effective.clamp(min=1e-12), 0.0)
    return weights * counts.sum() / (weights * counts).sum().clamp(min=1e-12)


def balanced(targets: Targets, config: BalanceConfig) -> Targets:
    """The targets with pictures of rare classes weighing more, where the settings ask for that.

    A picture with a distribution gets the mean weight of its classes. What is to be answered for it stays the same, so
    a head that learns votes still says what people would say.
    """
    if config.method != "effective_number":
        return targets
    return dataclasses.replace(
        targets,
        ferplus_weight=_reweighted(targets.ferplus, targets.ferplus_weight, beta=config.beta),
        fer2013_weight=_reweighted(targets.fer2013, targets.fer2013_weight, beta=config.beta),
    )


def _reweighted(target: Tensor, weight: Tensor, *, beta: float) -> Tensor:
    of_class = effective_number_weights(class_counts(target, weight), beta=beta)
    return weight * (target @ of_class.to(target.dtype))


def logit_offsets(targets: Targets, config: BalanceConfig) -> tuple[Tensor, Tensor] | None:
    """What is added to the logits of (FER+ head, challenge head) while training, float32 c each; None for nothing.

    Logit adjustment (Menon et al., 2021): with τ times the log of the class frequencies added, the loss is lowest for
    logits that hold no preference for frequent classes, and these are what is left when nothing is added later.
    """
    if config.method != "logit_adjustment":
        return None
    return (
        _log_frequencies(targets.ferplus, targets.ferplus_weight) * config.tau,
        _log_frequencies(targets.fer2013, targets.fer2013_weight) * config.tau,
    )


def _log_frequencies(target: Tensor, weight: Tensor) -> Tensor:
    counts = class_counts(target, weight)
    if counts.sum() == 0:
        return torch.zeros(len(counts))
    # A class that never occurs counts as one picture: its logarithm must be a number.
    return torch.log(counts.clamp(min=1.0) / counts.sum()).to(torch.float32)
