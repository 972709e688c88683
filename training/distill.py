"""Learning from larger nets: their answers to the very pictures the small net sees are targets beside the labels.

Knowledge distillation (Hinton et al., 2015), with the teacher looking at the same augmented and mixed crops as the
pupil, which teaches more than answers computed once (Beyer et al., 2022). Where labels are noisy it also tells which
of them to distrust.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.checkpoint import load_checkpoint, load_weights
from training.device import CPU, Compute
from training.loss import Targets
from training.model import build_model


class Teachers:
    """Trained nets whose mean answer is learned."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        if not models:
            raise ValueError("expected at least one teacher")
        self._models = [model.eval().requires_grad_(False) for model in models]

    @torch.no_grad()
    def targets(self, batch: Tensor, autocast: contextlib.AbstractContextManager[Any]) -> Targets:
        """Crops n×1×s×s in 0…255 → distributions of both heads, each picture of full weight."""
        ferplus, fer2013 = [], []
        with autocast:
            for model in self._models:
                first, second = model(batch)
                ferplus.append(torch.softmax(first.float(), dim=1))
                fer2013.append(torch.softmax(second.float(), dim=1))
        weight = torch.ones(len(batch), device=batch.device)
        return Targets(torch.stack(ferplus).mean(dim=0), weight, torch.stack(fer2013).mean(dim=0), weight)


def load_teachers(paths: Sequence[str], *, compute: Compute = CPU) -> Teachers | None:
    """The averaged weights of these checkpoints, or None when there are none.

    Raises:
        ModelUnavailableError: a checkpoint does not exist.
        ManifestError: it is damaged or no checkpoint.
    """
    models = []
    for path in paths:
        checkpoint = load_checkpoint(Path(path))
        model = build_model(checkpoint.config.model)
        load_weights(model, checkpoint.ema_weights, source=Path(path))
        models.append(model.to(device=compute.device, memory_format=torch.channels_last))  # type: ignore[call-overload]
    return Teachers(models) if models else None
