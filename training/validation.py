"""What the averaged weights give on the validation crops."""

from __future__ import annotations

import torch
from torch import Tensor

from training.loss import two_head_loss
from training.model import CompactNet
from training.train_set import TrainSet


@torch.no_grad()
def predict(model: CompactNet, crops: Tensor, *, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """(FER+ logits, challenge logits) of uint8 crops n×64×64, float32, in evaluation mode and full precision."""
    model.eval()
    outputs = [
        model(crops[start : start + batch_size][:, None].contiguous(memory_format=torch.channels_last))
        for start in range(0, len(crops), batch_size)
    ]
    return torch.cat([ferplus for ferplus, _ in outputs]), torch.cat([fer2013 for _, fer2013 in outputs])


def validate(model: CompactNet, data: TrainSet) -> dict[str, float]:
    """Accuracy and cross entropy of both heads, duplicates of training pictures included."""
    ferplus, fer2013 = predict(model, data.crops)
    _, ferplus_loss, fer2013_loss = two_head_loss(
        ferplus, fer2013, data.targets, ferplus_weight=1.0, fer2013_weight=1.0, label_smoothing=0.0
    )
    known = data.majority >= 0
    right = ferplus.argmax(1)[known] == data.majority[known]
    return {
        "accuracy": float((fer2013.argmax(1) == data.labels).float().mean()),
        "ferplus_accuracy": float(right.float().mean()) if len(right) else 0.0,
        "fer2013_loss": float(fer2013_loss),
        "ferplus_loss": float(ferplus_loss),
    }
