"""Our own net: small and residual, made of operators that every engine fuses and that keep their answers in INT8."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.nets.choices import SMALL, chosen_stem_stride, chosen_variant
from training.nets.face_net import Trunk


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; plain operators, which quantise well and fuse on every engine."""

    def __init__(self, width_in: int, width_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
        # Each block starts as its shortcut, which lets large first steps pass.
        nn.init.zeros_(self.norm2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width_out:
            # Average pooling before the 1×1 keeps all pixels; a strided 1×1 would drop three of four.
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
                nn.Conv2d(width_in, width_out, 1, bias=False),
                nn.BatchNorm2d(width_out),
            )

    def forward(self, batch: Tensor) -> Tensor:
        """float n×c×h×w → float n×c'×h/stride×w/stride."""
        inner = torch.relu(self.norm1(self.conv1(batch)))
        inner = self.norm2(self.conv2(inner))
        return torch.relu(inner + self.shortcut(batch))


def compact_trunk(config: ModelConfig) -> Trunk:
    """A stem at half the crop's resolution, then stages of residual blocks, each stage at half the one before."""
    chosen_variant(config, (SMALL,))
    chosen_stem_stride(config, (2,))
    width = config.widths[0]
    stem = nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    blocks: list[nn.Module] = []
    for stage, (stage_width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        for block in range(depth):
            stride = 2 if block == 0 and stage > 0 else 1
            blocks.append(ResidualBlock(width, stage_width, stride=stride))
            width = stage_width
    return Trunk(stem, nn.Sequential(*blocks), width)
