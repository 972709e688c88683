"""Transfer learning: pre-trained weights, staged unfreezing, and a learning rate for each depth.

The heads are new and the trunk is not: heads first, then the trunk from the top down, where features are the most
particular to what it was trained on, with smaller rates further down (Howard and Ruder, 2018). A stage that is frozen
keeps its batch statistics too: otherwise they would follow the new pictures while the weights cannot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from emostream.errors import ConfigError
from training.config import ModelConfig, TrainConfig, TransferConfig
from training.data.labels import Task
from training.loop.checkpoint import load_checkpoint
from training.nets.face_net import FaceNet
from training.nets.imagenet import imagenet_weights

_TRUNK = ("stem.", "blocks.")
_VOTE_HEAD = "ferplus_head."
_RATE_FACTOR = "rate_factor"


def num_free_stages(progress: float, *, num_stages: int, unfreeze_at: tuple[float, ...]) -> int:
    """How many stages of the trunk move at this point of training, counted from the top.

    >>> [num_free_stages(progress, num_stages=5, unfreeze_at=(0.1, 0.3)) for progress in (0.0, 0.1, 0.5)]
    [0, 3, 5]
    """
    if not unfreeze_at:
        return num_stages
    passed = sum(progress >= point for point in unfreeze_at)
    return math.ceil(num_stages * passed / len(unfreeze_at))


def rate_factors(*, num_stages: int, rate_decay: float) -> tuple[float, ...]:
    """What the learning rate is multiplied with in each stage of the trunk, from the crop to the last feature maps.

    >>> rate_factors(num_stages=3, rate_decay=0.5)
    (0.125, 0.25, 0.5)
    """
    return tuple(rate_decay ** (num_stages - index) for index in range(num_stages))


def parameter_groups(model: FaceNet, *, weight_decay: float, rate_decay: float) -> list[dict[str, Any]]:
    """Groups for the optimiser: one for each rate, with weight decay and without.

    Norms and biases are not decayed, since they do not overfit.
    """
    stages = model.stages()
    factors = rate_factors(num_stages=len(stages), rate_decay=rate_decay)
    factor_of = {
        id(parameter): factor for stage, factor in zip(stages, factors, strict=True) for parameter in stage.parameters()
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        decay = weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((factor_of.get(id(parameter), 1.0), decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, _RATE_FACTOR: factor}
        for (factor, decay), parameters in groups.items()
    ]


def set_learning_rate(groups: list[dict[str, Any]], learning_rate: float) -> None:
    """Give each group of `parameter_groups` its part of the rate, in place."""
    for group in groups:
        # Checkpoints from before there were factors hold groups without one.
        group["lr"] = learning_rate * group.get(_RATE_FACTOR, 1.0)


def freeze_stages(model: FaceNet, config: TransferConfig, *, progress: float) -> None:
    """Let move what the settings let move at this point of training; call after `model.train()`."""
    stages = model.stages()
    num_free = num_free_stages(progress, num_stages=len(stages), unfreeze_at=config.unfreeze_at)
    for index, stage in enumerate(stages):
        is_free = index >= len(stages) - num_free
        stage.requires_grad_(is_free)
        if not is_free:
            stage.eval()


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was taken from a pre-trained net.

    Attributes:
        source: where the weights come from, for messages.
        num_taken: weights and statistics taken.
        left: names of ours that stay as they were made.
    """

    source: str
    num_taken: int
    left: tuple[str, ...]

    def __str__(self) -> str:
        rest = f"; fresh: {', '.join(self.left[:6])}" if self.left else ""
        more = f" and {len(self.left) - 6} more" if len(self.left) > 6 else ""
        return f"{self.num_taken} of {self.num_taken + len(self.left)} tensors taken from {self.source}{rest}{more}"


def is_vote_head(name: str) -> bool:
    """Whether a weight of this name belongs to the head for votes."""
    return name.startswith(_VOTE_HEAD)


def load_pretrained(model: FaceNet, config: TrainConfig, task: Task | None = None) -> Transferred | None:
    """Put the weights that `transfer.pretrained` names into the model; None when it names none.

    Raises:
        ConfigError: there are no such weights for this net, or none of them fit.
        ModelUnavailableError: the weights are not on this machine and cannot be brought here.
        ManifestError: the file is damaged or no checkpoint.
    """
    source = config.transfer.pretrained
    if source == "none":
        return None
    if config.initial_checkpoint is not None:
        raise ConfigError("set either initial_checkpoint (the same net, whole) or transfer.pretrained, not both")
    ours = model.state_dict()
    if source == "imagenet":
        trunk = {key: value for key, value in ours.items() if key.startswith(_TRUNK)}
        taken = imagenet_weights(config.model, trunk)
    else:
        task = task or Task()
        taken = _checkpoint_weights(Path(source), config.model, ours, heads=config.transfer.load_heads, task=task)
    model.load_state_dict(taken, strict=False)
    return Transferred(source, len(taken), tuple(key for key in ours if key not in taken))


def _checkpoint_weights(
    path: Path, config: ModelConfig, ours: Mapping[str, Tensor], *, heads: bool, task: Task
) -> dict[str, Tensor]:
    checkpoint = load_checkpoint(path)
    theirs = checkpoint.config.model
    if theirs.architecture != config.architecture:
        raise ConfigError(
            f"checkpoint {path} holds a net of architecture {theirs.architecture}, the settings ask for "
            f"{config.architecture}: choose another transfer.pretrained or set model.architecture={theirs.architecture}"
        )
    heads = heads and checkpoint.task.class_names == task.class_names  # else they would begin with other classes
    weights = {
        key: value
        for key, value in checkpoint.ema_weights.items()
        if (heads or key.startswith(_TRUNK)) and key in ours and ours[key].shape == value.shape
    }
    if not any(value.dim() > 1 for value in weights.values()):
        raise ConfigError(
            f"no weight of checkpoint {path} fits: it has widths {theirs.widths} and variant {theirs.variant}, the "
            f"settings ask for {config.widths} and {config.variant}"
        )
    return weights
