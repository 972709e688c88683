"""The loss: two cross entropies, one for each head; a net without votes has the second alone.

FER+ head: against the distribution of ten people's votes, so the net learns how sure people are and is calibrated by
construction. Challenge head: against the one noisy label, with label smoothing, since about a third of these labels are
not what most people see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.config import BalanceConfig


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What a batch should give.

    Attributes:
        ferplus: float32 n×c, vote distributions; with three further columns where the net predicts other votes.
        ferplus_weight: float32 n, 0 where the votes name none of the seven classes.
        fer2013: float32 n×c, labels (FER2013's are the challenge's), one-hot before mixing and smoothing.
        fer2013_weight: float32 n, 0 where there is no challenge label.
    Weights are 1 elsewhere, or what `training.loop.loss` makes of them.
    """

    ferplus: Tensor
    ferplus_weight: Tensor
    fer2013: Tensor
    fer2013_weight: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> Targets:
        """The same change to all parts."""
        parts = (self.ferplus, self.ferplus_weight, self.fer2013, self.fer2013_weight)
        return Targets(*map(change, parts))

    def take(self, index: Tensor) -> Targets:
        """The targets of some pictures."""
        return self.each(lambda part: part[index])

    def mixed(self, other: Targets, share: Tensor) -> Targets:
        """`share` (float32 n, 0…1) of these and the rest of `other`'s; a missing target makes the mixture missing."""
        return Targets(
            torch.lerp(other.ferplus, self.ferplus, share[:, None]),
            _mixed_weight(self.ferplus_weight, other.ferplus_weight, share),
            torch.lerp(other.fer2013, self.fer2013, share[:, None]),
            _mixed_weight(self.fer2013_weight, other.fer2013_weight, share),
        )


def _mixed_weight(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return torch.where((one > 0) & (other > 0), torch.lerp(other, one, share), torch.zeros_like(one))


def soft_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean cross entropy of distributions; logits and target n×c, weight n. Zero when all weights are zero.

    Logits behind the columns of the target are left out.
    """
    losses = -(target * functional.log_softmax(logits[:, : target.shape[1]].float(), dim=1)).sum(dim=1)
    return (losses * weight).sum() / weight.sum().clamp(min=1.0)


def smoothed(target: Tensor, smoothing: float) -> Tensor:
    """Move `smoothing` of the mass of each row to the uniform distribution."""
    return target * (1.0 - smoothing) + smoothing / target.shape[1]


def two_head_loss(
    ferplus_logits: Tensor,
    fer2013_logits: Tensor,
    targets: Targets,
    *,
    ferplus_weight: float,
    fer2013_weight: float,
    label_smoothing: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(total, FER+ part, challenge part), scalars; both parts unweighted."""
    ferplus = soft_cross_entropy(ferplus_logits, targets.ferplus, targets.ferplus_weight)
    fer2013 = soft_cross_entropy(fer2013_logits, smoothed(targets.fer2013, label_smoothing), targets.fer2013_weight)
    return ferplus_weight * ferplus + fer2013_weight * fer2013, ferplus, fer2013


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
