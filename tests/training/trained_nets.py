"""A tiny net that answers by the stripes of `made_faces`, trained in a second, and its checkpoint."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from emostream.vision.classify.preprocess import batch_from_pictures
from tests.training.made import made_faces
from training.config import DataConfig, ModelConfig, TrainConfig
from training.loop.checkpoint import Checkpoint, save_checkpoint
from training.nets.build import FaceNet, build_model

TINY = ModelConfig(widths=(8, 16), depths=(1, 1), dropout=0.0)


@cache
def _trained_weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    net = build_model(TINY)
    faces = made_faces(70, seed=3)
    crops, labels = torch.from_numpy(batch_from_pictures(faces.pictures)), torch.from_numpy(faces.labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(15):
        ferplus, fer2013 = net(crops)
        loss = functional.cross_entropy(ferplus, labels) + functional.cross_entropy(fer2013, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: value.clone() for name, value in net.state_dict().items()}


def tiny_net() -> FaceNet:
    """The trained net, in evaluation mode; a new one for each call."""
    net = build_model(TINY)
    net.load_state_dict(_trained_weights())
    return net.eval()


def save_tiny_run(folder: Path, *, validation: Path, model: ModelConfig = TINY) -> Path:
    """A run folder with the net's checkpoint, validated on a file of pictures."""
    weights = _trained_weights()
    config = TrainConfig(
        name="tiny", model=model, data=DataConfig(path=str(validation), train_split=None, validation_split=None)
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(Checkpoint(config, 3, 12, 1.0, weights, weights, {}, {}, 0.5), folder / "last.pt")
    return folder
