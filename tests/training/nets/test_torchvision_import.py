"""torchvision's models and transforms work, with whatever build of torch is installed."""

from __future__ import annotations

import torch

from training.nets.torchvision_import import torchvision, v2


def test_models_work() -> None:
    net = torchvision.models.squeezenet1_1(num_classes=7).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_transforms_work_on_batches() -> None:
    batch = torch.arange(2 * 64 * 64, dtype=torch.float32).reshape(2, 1, 64, 64)
    assert torch.equal(v2.functional.horizontal_flip(batch), batch.flip(3))


def test_operators_are_declared_once() -> None:
    # Real or declared, both are there: that is what torchvision's import needs.
    assert torch.ops.torchvision.nms is not None
    assert torch.ops.torchvision.qnms is not None
