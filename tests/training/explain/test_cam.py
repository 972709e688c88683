"""Gradient maps against what they are by hand for this kind of net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from emostream.vision.classify.preprocess import batch_from_pictures
from tests.training.made import made_faces
from tests.training.trained_nets import tiny_net
from training.explain.cam import Head, grad_cam, layer_cam

pytestmark = pytest.mark.heavy

CROPS = batch_from_pictures(made_faces(70, seed=9).pictures)
CLASSES = (np.arange(70) % 7).astype(np.int64)


@pytest.mark.parametrize("head", ["ferplus", "fer2013"])
def test_grad_cam_is_the_weighted_sum_of_the_last_maps(head: Head) -> None:
    """Mean, then a linear head: the gradient of a logit to a map is the head's weight over the number of places."""
    net = tiny_net()
    with torch.no_grad():
        maps = net.features(torch.from_numpy(CROPS))
        weights = getattr(net, f"{head}_head").weight[torch.from_numpy(CLASSES)]
        weighted = (weights[:, :, None, None] * maps).sum(dim=1) / maps[0, 0].numel()
        expected = functional.interpolate(weighted.clamp(min=0)[:, None], size=(64, 64), mode="bilinear")[:, 0]
    assert grad_cam(net, CROPS, CLASSES, head=head) == pytest.approx(expected.numpy(), abs=1e-5)


def test_layer_cam_weighs_each_place_by_its_own_gradient() -> None:
    net = tiny_net()
    stem = net.stem(net.standardise(torch.from_numpy(CROPS[:3])))
    early = net.stages()[1](stem).detach().requires_grad_()
    rest = net.blocks[1:]
    logits, _ = net.heads(rest(early))
    (gradient,) = torch.autograd.grad(logits[torch.arange(3), torch.from_numpy(CLASSES[:3])].sum(), early)
    weighted = (gradient.clamp(min=0) * early).sum(dim=1).clamp(min=0)
    expected = functional.interpolate(weighted[:, None], size=(64, 64), mode="bilinear")[:, 0].detach().numpy()
    assert layer_cam(net, CROPS[:3], CLASSES[:3], head="ferplus") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", [grad_cam, layer_cam])
def test_maps_leave_the_net_as_it_was_and_take_any_number_of_crops(method: object) -> None:
    net = tiny_net()
    whole = method(net, CROPS, CLASSES, head="ferplus")  # type: ignore[operator]
    assert whole.shape == CROPS.shape
    assert whole.dtype == np.float32
    assert (whole >= 0).all()
    assert whole.max() > 0
    assert method(net, CROPS[:5], CLASSES[:5], head="ferplus") == pytest.approx(whole[:5], abs=1e-5)  # type: ignore[operator]
    assert method(net, CROPS[:0], CLASSES[:0], head="ferplus").shape == (0, 64, 64)  # type: ignore[operator]
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
