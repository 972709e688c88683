"""EfficientNet-Lite for gray faces: inverted residuals with ReLU6, no squeeze-and-excite, made to be quantised.

EfficientNet (Tan and Le, 2019) in the Lite form that Google published in 2020. Written out here because no library at
hand has it; the ImageNet weights come from small packages (`training.nets.imagenet`). They were trained with padding
that puts the odd pixel of a strided convolution behind; here it is before, as torch does. That only moves the grid on
which maps are sampled by a pixel, and leaves no padding operators in the exported graph.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from training.config import ModelConfig
from training.nets.choices import chosen_stem_stride, chosen_variant
from training.nets.face_net import Trunk

_STEM_WIDTH = 32
_LAST_WIDTH = 1280
_NORM_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class _Stage:
    """A run of blocks of lite0; other variants are wider and deeper."""

    depth: int
    kernel: int
    stride: int
    expansion: int
    width: int


_STAGES = (
    _Stage(depth=1, kernel=3, stride=1, expansion=1, width=16),
    _Stage(depth=2, kernel=3, stride=2, expansion=6, width=24),
    _Stage(depth=2, kernel=5, stride=2, expansion=6, width=40),
    _Stage(depth=3, kernel=3, stride=2, expansion=6, width=80),
    _Stage(depth=3, kernel=5, stride=1, expansion=6, width=112),
    _Stage(depth=4, kernel=5, stride=2, expansion=6, width=192),
    _Stage(depth=1, kernel=3, stride=1, expansion=6, width=320),
)
# Factors of width and depth over lite0.
_FACTORS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
VARIANTS = tuple(_FACTORS)


def _convolution(
    width_in: int, width_out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(width_in, width_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width_out, eps=_NORM_EPSILON),
    ]
    if activated:
        parts.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*parts)


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow again; beside a shortcut where the shape stays."""

    def __init__(self, width_in: int, width_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width_in * expansion
        self.has_shortcut = stride == 1 and width_in == width_out
        self.expand = _convolution(width_in, inner) if expansion > 1 else nn.Identity()
        self.depthwise = _convolution(inner, inner, kernel, stride=stride, groups=inner)
        self.project = _convolution(inner, width_out, activated=False)

    def forward(self, batch: Tensor) -> Tensor:
        """float n×c×h×w → float n×c'×⌈h/stride⌉×⌈w/stride⌉."""
        inner: Tensor = self.project(self.depthwise(self.expand(batch)))
        return batch + inner if self.has_shortcut else inner


def efficientnet_lite_trunk(config: ModelConfig) -> Trunk:
    """A stem, seven stages of inverted residual blocks, and a last widening to 1280 channels."""
    width_factor, depth_factor = _FACTORS[chosen_variant(config, VARIANTS)]
    stem = _convolution(1, _STEM_WIDTH, 3, stride=chosen_stem_stride(config, (2, 1)))
    stages, width, number = OrderedDict[str, nn.Module](), _STEM_WIDTH, 0
    for index, stage in enumerate(_STAGES):
        is_scaled = 0 < index < len(_STAGES) - 1
        blocks = OrderedDict[str, nn.Module]()
        for block in range(math.ceil(stage.depth * depth_factor) if is_scaled else stage.depth):
            width_out = scaled_width(stage.width, width_factor)
            # Numbered through the whole net: that is how `imagenet_name` finds them again.
            blocks[str(number)] = InvertedResidual(
                width,
                width_out,
                kernel=stage.kernel,
                stride=stage.stride if block == 0 else 1,
                expansion=stage.expansion,
            )
            width, number = width_out, number + 1
        stages[f"stage{index}"] = nn.Sequential(blocks)
    stages["last"] = _convolution(width, _LAST_WIDTH)
    return Trunk(stem, nn.Sequential(stages), _LAST_WIDTH)


def scaled_width(width: int, factor: float) -> int:
    """A multiple of 8 near width × factor, never less than nine tenths of it.

    >>> scaled_width(80, 1.0), scaled_width(80, 1.1), scaled_width(16, 1.1)
    (80, 88, 16)
    """
    wanted = width * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


_IMAGENET_PARTS = {
    "stem.0": "_conv_stem",
    "stem.1": "_bn0",
    "last.0": "_conv_head",
    "last.1": "_bn1",
    "expand.0": "_expand_conv",
    "expand.1": "_bn0",
    "depthwise.0": "_depthwise_conv",
    "depthwise.1": "_bn1",
    "project.0": "_project_conv",
    "project.1": "_bn2",
}


def imagenet_name(key: str) -> str:
    """The name that the weight packages give to a value of our trunk.

    >>> imagenet_name("stem.0.weight"), imagenet_name("blocks.last.1.bias")
    ('_conv_stem.weight', '_bn1.bias')
    >>> imagenet_name("blocks.stage1.2.expand.0.weight")
    '_blocks.2._expand_conv.weight'
    """
    *parents, part, index, value = key.split(".")
    block = re.fullmatch(r"blocks\.stage\d+\.(\d+)", ".".join(parents))
    prefix = f"_blocks.{block[1]}." if block else ""
    return f"{prefix}{_IMAGENET_PARTS[f'{part}.{index}']}.{value}"
