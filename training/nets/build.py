"""The door to the networks: settings → a net that takes gray crops and gives logits of its heads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from emostream.errors import ConfigError
from training.config import ModelConfig
from training.data.labels import OTHER_VOTES, Task
from training.nets.choices import SMALL
from training.nets.compact import compact_trunk
from training.nets.face_net import FaceNet, Standardise, Trunk
from training.nets.repvgg import folded, repvgg_trunk

__all__ = [
    "FaceNet",
    "Standardise",
    "build_model",
    "describe_model",
    "num_multiply_adds",
    "num_parameters",
]


def build_model(config: ModelConfig, task: Task | None = None) -> FaceNet:
    """The network that the settings describe, with fresh weights, for a task; None is that of FER2013 with votes.

    Raises:
        ConfigError: widths and depths that do not fit each other, or a variant that the architecture does not have.
    """
    if len(config.widths) != len(config.depths) or not config.widths:
        raise ConfigError(
            "model.widths and model.depths need one entry for each stage, "
            f"got {len(config.widths)} and {len(config.depths)}"
        )
    if min(config.widths) < 1 or min(config.depths) < 1:
        raise ConfigError(f"model.widths and model.depths must be positive, got {config.widths} and {config.depths}")
    task = task or Task()
    trunk = _trunk_builder(config)(config)
    return FaceNet(
        trunk,
        num_classes=len(task.class_names),
        num_other_votes=len(OTHER_VOTES) if config.other_votes and task.has_votes else 0,
        dropout=config.dropout,
        has_votes=task.has_votes,
    )


def _trunk_builder(config: ModelConfig) -> Callable[[ModelConfig], Trunk]:
    # torchvision takes seconds to import, so only the nets that are made of its blocks do it.
    match config.architecture:
        case "compact":
            return compact_trunk
        case "repvgg":
            return repvgg_trunk
        case "vgg":
            from training.nets.vgg import vgg_trunk

            return vgg_trunk
        case "resnet":
            from training.nets.resnet import resnet_trunk

            return resnet_trunk
        case "inception":
            from training.nets.inception import inception_trunk

            return inception_trunk
        case "efficientnet_lite":
            from training.nets.efficientnet_lite import efficientnet_lite_trunk

            return efficientnet_lite_trunk


def describe_model(config: ModelConfig) -> str:
    """The net in a few words, for manifests and model cards.

    >>> describe_model(ModelConfig())
    'compact widths 32,64,128,256 depths 1,1,2,2'
    >>> describe_model(ModelConfig("efficientnet_lite", "lite1", stem_stride=1))
    'efficientnet_lite lite1 stem stride 1'
    """
    words: list[str] = [config.architecture]
    if config.variant is not None:
        words.append(config.variant)
    if config.variant in (None, SMALL) and config.architecture in ("compact", "repvgg", "vgg", "resnet"):
        shape = (("widths", config.widths), ("depths", config.depths))
        words += [f"{name} {','.join(map(str, values))}" for name, values in shape]
    if config.stem_stride is not None:
        words.append(f"stem stride {config.stem_stride}")
    return " ".join(words)


def num_parameters(model: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())


def num_multiply_adds(model: nn.Module, *, side: int) -> int:
    """Multiply-adds of the convolutions and dense layers of the served form, for one crop of `side` pixels."""
    served = folded(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        served(torch.zeros(1, side, side, dtype=torch.uint8))
    # The counter counts a multiplication and its addition as two.
    return int(counter.get_total_flops()) // 2
