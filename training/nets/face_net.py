"""What all nets share: gray crops in, standardised by the net itself, a trunk of stages, logits of one or two heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """Standardised crops → feature maps.

    Attributes:
        stem: the first stage; INT8 variants keep it in full precision.
        blocks: the other stages in order, each a child.
        width: channels of the last feature maps.
    """

    stem: nn.Module
    blocks: nn.Sequential
    width: int


class FaceNet(nn.Module):
    """A trunk with heads on the mean of its last feature maps: for votes, where there are any, and for labels.

    A net with one head answers both questions with it. With `num_other_votes` the head for votes has that many logits
    behind those of the classes, for answers that are no class; the softmax of the first is the distribution over the
    classes, with or without them.
    """

    def __init__(
        self, trunk: Trunk, *, num_classes: int, dropout: float, has_votes: bool = True, num_other_votes: int = 0
    ) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.stem = trunk.stem
        self.blocks = trunk.blocks
        self.dropout = nn.Dropout(dropout)
        self.ferplus_head = nn.Linear(trunk.width, num_classes + num_other_votes) if has_votes else None
        self.num_other_votes = num_other_votes if has_votes else 0
        self.fer2013_head = nn.Linear(trunk.width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _initialise(module)

    def stages(self) -> tuple[nn.Module, ...]:
        """The parts of the trunk that have weights, from the crop to the last feature maps."""
        return tuple(stage for stage in (self.stem, *self.blocks) if any(True for _ in stage.parameters()))

    def trunk(self, batch: Tensor) -> Tensor:
        """Standardised crops float n×1×s×s → the last feature maps, float n×width×h×w."""
        maps: Tensor = self.blocks(self.stem(batch))
        return maps

    def features(self, crops: Tensor) -> Tensor:
        """uint8 or float crops n×s×s or n×1×s×s → the last feature maps, float n×width×h×w."""
        return self.trunk(self.standardise(crops))

    def heads(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The last feature maps → (FER+ logits n×classes and others, challenge logits n×classes).

        The same twice where there is one head.
        """
        pooled = self.dropout(maps.mean(dim=(2, 3)))
        fer2013 = self.fer2013_head(pooled)
        return (fer2013 if self.ferplus_head is None else self.ferplus_head(pooled)), fer2013

    def head_modules(self) -> nn.ModuleList:
        """Both heads, or the one."""
        return nn.ModuleList([head for head in (self.ferplus_head, self.fer2013_head) if head is not None])

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 or float crops n×s×s or n×1×s×s → what `heads` gives."""
        return self.heads(self.features(crops))


def _initialise(convolution: nn.Conv2d) -> None:
    # He et al. (2015), by the outputs of one group: torch's own function counts all groups and starts depthwise
    # convolutions far too small.
    height, width = convolution.kernel_size
    fan_out = height * width * convolution.out_channels // convolution.groups
    nn.init.normal_(convolution.weight, std=(2.0 / fan_out) ** 0.5)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
