"""What the averaged weights give on the validation crops, and what follows from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from emostream.errors import ConfigError, InferenceError
from training.config import ValidationConfig
from training.loop.loss import two_head_loss
from training.loop.process_group import ALONE, World
from training.loop.train_set import TrainSet


@torch.no_grad()
def predict(model: nn.Module, crops: Tensor, *, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """(FER+ logits, challenge logits) of uint8 crops n×s×s, each float32 n×classes in host memory.

    In evaluation mode and full precision, on the device where the net is.
    """
    model.eval()
    device = next(model.parameters()).device
    outputs = [
        model(crops[start : start + batch_size].to(device)[:, None].contiguous(memory_format=torch.channels_last))
        for start in range(0, len(crops), batch_size)
    ]
    ferplus = torch.cat([ferplus[:, : fer2013.shape[1]].cpu() for ferplus, fer2013 in outputs])
    return ferplus, torch.cat([fer2013.cpu() for _, fer2013 in outputs])


def validate(model: nn.Module, data: TrainSet, *, world: World = ALONE) -> dict[str, float]:
    """Accuracy and cross entropy of both heads, duplicates of training pictures included.

    Without votes there is nothing about the head for them, and the label is asked of the head that events carry. Each
    process works on its part of the crops; all get the same figures.

    Raises:
        InferenceError: the net answers with something that is not a number.
    """
    parts = predict(model, data.crops[world.share(torch.arange(len(data)))])
    ferplus, fer2013 = (world.join(part) for part in parts)
    if not data.has_votes:
        fer2013 = ferplus
    _, ferplus_loss, fer2013_loss = two_head_loss(
        ferplus, fer2013, data.targets, ferplus_weight=1.0, fer2013_weight=1.0, label_smoothing=0.0
    )
    metrics = {
        "accuracy": float((fer2013.argmax(1) == data.labels).float().mean()),
        "fer2013_loss": float(fer2013_loss),
    }
    if data.has_votes:
        known = data.majority >= 0
        right = ferplus.argmax(1)[known] == data.majority[known]
        metrics |= {"ferplus_accuracy": float(right.float().mean()), "ferplus_loss": float(ferplus_loss)}
    wrong = next((name for name, value in metrics.items() if not math.isfinite(value)), None)
    if wrong is not None:
        raise InferenceError(
            f"{wrong} became {metrics[wrong]} in validation; the last good checkpoint is kept: "
            "lower optim.peak_learning_rate and start the run again"
        )
    return metrics


def require_measurable(data: TrainSet, config: ValidationConfig) -> None:
    """Stop a run whose deciding metric these pictures cannot tell.

    Raises:
        ConfigError: it is about votes, and there are none.
    """
    if config.metric.startswith("ferplus") and not data.has_votes:
        raise ConfigError(
            f"validation.metric {config.metric} needs votes of people, which the validation pictures do not have: set "
            "it to score, accuracy or fer2013_loss"
        )


def score_of(metrics: dict[str, float], config: ValidationConfig) -> float:
    """The metric that decides, turned so that more is better; without votes the score is the accuracy of the labels.

    >>> score_of({"accuracy": 0.5, "ferplus_accuracy": 0.75}, ValidationConfig())
    0.625
    >>> score_of({"ferplus_loss": 1.5}, ValidationConfig(metric="ferplus_loss"))
    -1.5
    """
    if config.metric == "score":
        return (metrics["accuracy"] + metrics.get("ferplus_accuracy", metrics["accuracy"])) / 2
    sign = -1.0 if config.metric.endswith("_loss") else 1.0
    return sign * metrics[config.metric]
