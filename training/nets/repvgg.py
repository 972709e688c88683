"""A plain net of 3×3 convolutions that trains with two branches and is served with one (RepVGG, Ding et al., 2021).

While training each block adds a 3×3 convolution and a 1×1 convolution. Both are linear, so for serving they become one
3×3 convolution: half of the operators of a residual net, and no maps that are kept for a shortcut.

Two things are left out of the original, for the sake of eight bits, in which one step holds for all weights of a
channel. Batch norm follows the 3×3 convolution and the sum, but not the 1×1 convolution (QARepVGG, Chu et al., 2024).
And a block's input is not a third branch: folded, it is one large weight in the middle of each kernel. Of a net with it
(67 M multiply-adds, epoch 6) the largest weight of a channel was 10 to 32 standard deviations, of blocks without it 5
or 6, and its INT8 form agreed with it on 97.4 % of 1,400 held-out pictures (98.6 % with eight bits of weights in place
of seven). Without it as many answers agreed after two epochs, 98.6 % with seven bits, and the net had learned as much.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.config import ModelConfig
from training.nets.choices import SMALL, chosen_stem_stride, chosen_variant
from training.nets.face_net import Trunk


class RepBlock(nn.Module):
    """ReLU of the normalised sum of the branches; `folded` is the same in one convolution."""

    def __init__(self, width_in: int, width_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width_out)
        self.conv1 = nn.Conv2d(width_in, width_out, 1, stride=stride, bias=False)
        self.norm = nn.BatchNorm2d(width_out)

    def forward(self, batch: Tensor) -> Tensor:
        """float n×c×h×w → float n×c'×h/stride×w/stride."""
        return torch.relu(self.norm(self.norm3(self.conv3(batch)) + self.conv1(batch)))

    @torch.no_grad()
    def folded(self) -> nn.Sequential:
        """The block in evaluation mode as one 3×3 convolution with a bias, and the activation."""
        one = fuse_conv_bn_eval(self.conv3, self.norm3)
        one.weight += functional.pad(self.conv1.weight, [1, 1, 1, 1])
        return nn.Sequential(fuse_conv_bn_eval(one, self.norm), nn.ReLU())


def folded(model: nn.Module) -> nn.Module:
    """A copy of a net in evaluation mode, in which each block of branches is one convolution."""
    copied = copy.deepcopy(model).eval()
    for module in copied.modules():
        for name, child in module.named_children():
            if isinstance(child, RepBlock):
                setattr(module, name, child.folded())
    return copied


def repvgg_trunk(config: ModelConfig) -> Trunk:
    """A plain stem at half the crop's resolution, then stages of blocks, each stage at half the one before."""
    chosen_variant(config, (SMALL,))
    chosen_stem_stride(config, (2,))
    width = config.widths[0]
    # A 1×1 convolution of one gray channel would add nothing but time.
    stem = nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    stages: list[nn.Module] = []
    for number, (stage_width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        blocks: list[nn.Module] = []
        for index in range(depth):
            blocks.append(RepBlock(width, stage_width, stride=2 if index == 0 and number > 0 else 1))
            width = stage_width
        stages.append(nn.Sequential(*blocks))
    return Trunk(stem, nn.Sequential(*stages), width)
