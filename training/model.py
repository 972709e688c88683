"""The networks: gray crops in, logits of two heads out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emostream.emotion import EMOTIONS
from emostream.errors import ConfigError
from training.config import ModelConfig

# Standard deviation of a flat gray crop is 0; 8 of 255 levels keeps noise of such crops from being blown up to a face.
_STANDARD_DEVIATION_FLOOR_LEVELS = 8.0


class Standardise(nn.Module):
    """Each crop minus its mean, over its standard deviation: light and contrast of the scene hardly matter then."""

    def forward(self, crops: Tensor) -> Tensor:
        """uint8 or float n×s×s or n×1×s×s in 0…255 → float32 n×1×s×s, mean 0."""
        batch = crops.to(torch.float32)
        if batch.dim() == 3:
            batch = batch.unsqueeze(1)
        batch = batch - batch.mean(dim=(2, 3), keepdim=True)
        variance = (batch * batch).mean(dim=(2, 3), keepdim=True)
        return batch / torch.sqrt(variance + _STANDARD_DEVIATION_FLOOR_LEVELS**2)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; plain operators, which quantise well and fuse on every engine."""

    def __init__(self, width_in: int, width_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
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


class CompactNet(nn.Module):
    """A small residual net with two heads on one trunk."""

    def __init__(self, config: ModelConfig, *, num_classes: int) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.stem = nn.Sequential(
            nn.Conv2d(1, config.widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(config.widths[0]),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        width = config.widths[0]
        for stage, (stage_width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            for block in range(depth):
                stride = 2 if block == 0 and stage > 0 else 1
                blocks.append(ResidualBlock(width, stage_width, stride=stride))
                width = stage_width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.ferplus_head = nn.Linear(width, num_classes)
        self.fer2013_head = nn.Linear(width, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, ResidualBlock):
                # Each block starts as its shortcut, which lets large first steps pass.
                nn.init.zeros_(module.norm2.weight)

    def features(self, crops: Tensor) -> Tensor:
        """Crops n×s×s → float n×width×s/16×s/16, the last feature maps."""
        out: Tensor = self.blocks(self.stem(self.standardise(crops)))
        return out

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 or float crops n×s×s or n×1×s×s → (FER+ logits, challenge logits), each n×classes."""
        pooled = self.dropout(self.features(crops).mean(dim=(2, 3)))
        return self.ferplus_head(pooled), self.fer2013_head(pooled)


def build_model(config: ModelConfig, *, num_classes: int = len(EMOTIONS)) -> CompactNet:
    """The network that the settings describe, with fresh weights.

    Raises:
        ConfigError: widths and depths that do not fit each other.
    """
    if len(config.widths) != len(config.depths) or not config.widths:
        raise ConfigError(
            "model.widths and model.depths need one entry for each stage, "
            f"got {len(config.widths)} and {len(config.depths)}"
        )
    if min(config.widths) < 1 or min(config.depths) < 1:
        raise ConfigError(f"model.widths and model.depths must be positive, got {config.widths} and {config.depths}")
    return CompactNet(config, num_classes=num_classes)


def num_parameters(model: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())
