"""VGG (Simonyan and Zisserman, 2015) with batch norm, from torchvision's own layers, for gray faces.

ImageNet's VGG ends in 7×7 maps and 100 million values of dense layers behind them. Here the last pooling is left out,
so that a crop of 64 px still ends in 4×4 maps, and the heads on their mean take the place of the dense layers.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from training.config import ModelConfig
from training.nets.choices import SMALL, chosen_stem_stride, chosen_variant
from training.nets.face_net import Trunk
from training.nets.torchvision_import import torchvision

# torchvision's plans of these nets; `small` takes widths and depths of the settings.
_PLANS = {"vgg11_bn": "A", "vgg13_bn": "B", "vgg16_bn": "D"}
VARIANTS = (SMALL, *_PLANS)


def vgg_trunk(config: ModelConfig) -> Trunk:
    """The stages between poolings; the first works at the full resolution of the crop."""
    variant = chosen_variant(config, VARIANTS)
    chosen_stem_stride(config, (1,))
    vgg = torchvision.models.vgg
    plan = _small_plan(config) if variant == SMALL else vgg.cfgs[_PLANS[variant]]
    layers = vgg.make_layers(plan[:-1], batch_norm=True)
    width = int(plan[-2])
    layers[0] = nn.Conv2d(1, layers[0].out_channels, 3, padding=1)
    pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    # Slices of a Sequential keep the numbers of its children: that is how `imagenet_name` finds them again.
    stages = [layers[start:stop] for start, stop in pairwise((0, *pools, len(layers)))]
    return Trunk(stages[0], nn.Sequential(*stages[1:]), width)


def _small_plan(config: ModelConfig) -> list[int | str]:
    plan: list[int | str] = []
    for width, depth in zip(config.widths, config.depths, strict=True):
        plan += [width] * depth + ["M"]
    return plan


def imagenet_name(key: str) -> str:
    """The name that torchvision gives to a value of our trunk.

    >>> imagenet_name("stem.0.weight"), imagenet_name("blocks.2.15.bias")
    ('features.0.weight', 'features.15.bias')
    """
    num_parents = 1 if key.startswith("stem.") else 2
    return "features." + key.split(".", num_parents)[-1]
