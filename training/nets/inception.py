"""Inception v3 (Szegedy et al., 2016) from torchvision's own blocks, for gray faces, without the auxiliary head.

The original wants 299 px and pads little, so a crop of 64 px would be gone before the end. `small` is one block of each
of the kinds A, B and C behind a padded stem; `inception_v3` is the whole net with a first convolution that does not
shrink (`model.stem_stride`: 2 is the original and needs crops of 75 px or more).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from training.config import ModelConfig
from training.nets.choices import SMALL, chosen_stem_stride, chosen_variant
from training.nets.face_net import Trunk
from training.nets.torchvision_import import torchvision

VARIANTS = (SMALL, "inception_v3")
_IMAGENET_WIDTH = 2048
_HEAD_PARTS = ("AuxLogits", "avgpool", "dropout", "fc")


def inception_trunk(config: ModelConfig) -> Trunk:
    """A stem of one convolution, then convolutions, poolings and inception blocks."""
    if chosen_variant(config, VARIANTS) == SMALL:
        return _small_trunk(chosen_stem_stride(config, (2, 1)))
    return _imagenet_trunk(chosen_stem_stride(config, (1, 2)))


def _small_trunk(stride: int) -> Trunk:
    inception = torchvision.models.inception
    stem = inception.BasicConv2d(1, 32, kernel_size=3, stride=stride, padding=1)
    blocks = OrderedDict[str, nn.Module](
        conv=inception.BasicConv2d(32, 64, kernel_size=3, padding=1),
        pool=nn.MaxPool2d(3, stride=2, padding=1),
        mixed_a=inception.InceptionA(64, pool_features=32),
        mixed_b=inception.InceptionB(256),
        # Half the inner width of the original: the work of the whole net is then that of the others compared.
        mixed_c=inception.InceptionC(736, channels_7x7=64),
    )
    return Trunk(stem, nn.Sequential(blocks), width=768)


def _imagenet_trunk(stride: int) -> Trunk:
    inception = torchvision.models.inception
    net = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    parts = OrderedDict((name, part) for name, part in net.named_children() if name not in _HEAD_PARTS)
    first, _ = parts.popitem(last=False)
    stem = OrderedDict({first: inception.BasicConv2d(1, 32, kernel_size=3, stride=stride)})
    return Trunk(nn.Sequential(stem), nn.Sequential(parts), width=_IMAGENET_WIDTH)


def imagenet_name(key: str) -> str:
    """The name that torchvision gives to a value of our trunk.

    >>> imagenet_name("stem.Conv2d_1a_3x3.conv.weight"), imagenet_name("blocks.Mixed_5b.branch1x1.bn.bias")
    ('Conv2d_1a_3x3.conv.weight', 'Mixed_5b.branch1x1.bn.bias')
    """
    return key.split(".", 1)[1]
