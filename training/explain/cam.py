"""Maps of what a trained net looks at, from its own gradients: Grad-CAM, and the finer LayerCAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.nets.build import FaceNet

Head = Literal["ferplus", "fer2013", "probabilities"]
"""For votes, for labels, or the only one."""
Maps = npt.NDArray[np.float32]
"""float32 n×S×S, 0 and more: evidence of each place of a crop for the class."""

_BATCH_SIZE = 64


def grad_cam(net: FaceNet, crops: npt.NDArray[np.uint8], classes: npt.NDArray[np.int64], *, head: Head) -> Maps:
    """Grad-CAM (Selvaraju et al. 2017) on the last feature maps.

    Each feature map counts by the mean gradient of the class's logit to it. With this net (mean, then a linear head)
    that is the head's own weight, so the maps add up to the logit. They are as coarse as the last maps: 4×4 of 64×64.

    Args:
        net: in evaluation mode.
        crops: uint8 n×S×S.
        classes: int64 n, which class is asked for.
        head: whose logit.
    """
    return _maps(net, crops, classes, head=head, module=net.blocks, combine=_weighted_by_mean_gradient)


def layer_cam(net: FaceNet, crops: npt.NDArray[np.uint8], classes: npt.NDArray[np.int64], *, head: Head) -> Maps:
    """LayerCAM (Jiang et al. 2021) on the feature maps after the first block: 32×32 of 64×64 in the compact net.

    Each place of a map counts by its own positive gradient, which keeps early maps meaningful where Grad-CAM's mean
    does not (training/README.md has the figures). Arguments as for `grad_cam`.
    """
    return _maps(net, crops, classes, head=head, module=net.stages()[1], combine=_weighted_by_own_gradient)


def _weighted_by_mean_gradient(maps: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)


def _weighted_by_own_gradient(maps: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.clamp(min=0) * maps).sum(dim=1)


def _maps(
    net: FaceNet,
    crops: npt.NDArray[np.uint8],
    classes: npt.NDArray[np.int64],
    *,
    head: Head,
    module: nn.Module,
    combine: Callable[[Tensor, Tensor], Tensor],
) -> Maps:
    parts = []
    for start in range(0, len(crops), _BATCH_SIZE):
        batch = torch.from_numpy(crops[start : start + _BATCH_SIZE])
        wanted = torch.from_numpy(classes[start : start + _BATCH_SIZE])
        maps, gradients = _maps_and_gradients(net, batch, wanted, head=head, module=module)
        positive = combine(maps, gradients).clamp(min=0)[:, None]
        large = functional.interpolate(positive, size=crops.shape[1:], mode="bilinear", align_corners=False)
        parts.append(large[:, 0].detach().numpy())
    return np.concatenate(parts) if parts else np.empty(crops.shape, dtype=np.float32)


def _maps_and_gradients(
    net: FaceNet, batch: Tensor, classes: Tensor, *, head: Head, module: nn.Module
) -> tuple[Tensor, Tensor]:
    """The output of a module, and the gradient of each crop's logit to it."""
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        ferplus, fer2013 = net(batch)
    finally:
        handle.remove()
    logits = ferplus if head == "ferplus" else fer2013
    # Crops do not meet in evaluation mode, so one backward pass of the sum serves all of them.
    (gradients,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), outputs[0])
    return outputs[0].detach(), gradients
