"""ResNet (He et al., 2016) from torchvision's own blocks, for gray faces.

ImageNet's ResNet shrinks a picture four times before its first block, which leaves 2×2 maps of a crop of 64 px at the
end. `model.stem_stride` says how much is shrunk there: 2 by default, without the pooling; 4 is the original.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from training.config import ModelConfig
from training.nets.choices import SMALL, chosen_stem_stride, chosen_variant
from training.nets.face_net import Trunk
from training.nets.torchvision_import import torchvision

_IMAGENET_WIDTHS = (64, 128, 256, 512)
_IMAGENET_DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
VARIANTS = (SMALL, *_IMAGENET_DEPTHS)


def resnet_trunk(config: ModelConfig) -> Trunk:
    """A stem of one convolution, then stages of basic blocks, each stage but the first at half the one before."""
    variant = chosen_variant(config, VARIANTS)
    stride = chosen_stem_stride(config, (2, 1, 4))
    widths, depths, kernel = config.widths, config.depths, 3
    if variant != SMALL:
        widths, depths, kernel = _IMAGENET_WIDTHS, _IMAGENET_DEPTHS[variant], 7
    stages, width = OrderedDict[str, nn.Module](), widths[0]
    for number, (stage_width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        stages[f"layer{number}"] = _stage(width, stage_width, depth=depth, stride=1 if number == 1 else 2)
        width = stage_width
    return Trunk(_stem(widths[0], kernel=kernel, stride=stride), nn.Sequential(stages), width)


def _stem(width: int, *, kernel: int, stride: int) -> nn.Sequential:
    parts = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(1, width, kernel, stride=min(stride, 2), padding=kernel // 2, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )
    if stride == 4:
        parts["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(parts)


def _stage(width_in: int, width_out: int, *, depth: int, stride: int) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for index in range(depth):
        step = stride if index == 0 else 1
        width = width_in if index == 0 else width_out
        shortcut = None
        if step != 1 or width != width_out:
            shortcut = nn.Sequential(nn.Conv2d(width, width_out, 1, stride=step, bias=False), nn.BatchNorm2d(width_out))
        block = torchvision.models.resnet.BasicBlock(width, width_out, stride=step, downsample=shortcut)
        # As torchvision's `zero_init_residual`: each block starts as its shortcut.
        nn.init.zeros_(block.bn2.weight)
        blocks.append(block)
    return nn.Sequential(*blocks)


def imagenet_name(key: str) -> str:
    """The name that torchvision gives to a value of our trunk.

    >>> imagenet_name("stem.conv1.weight"), imagenet_name("blocks.layer1.0.bn1.bias")
    ('conv1.weight', 'layer1.0.bn1.bias')
    """
    return key.split(".", 1)[1]
