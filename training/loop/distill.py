"""Learning from other nets: their answers are targets beside the labels.

Knowledge distillation (Hinton et al., 2015). Teachers look at the same augmented and mixed crops as the student, which
teaches most for each step (Beyer et al., 2022), or once at variants of every picture, which costs least. Where labels
are noisy their answers also tell which of them to distrust.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from emostream.errors import ManifestError
from training.augment.warp import augment
from training.config import TrainConfig
from training.data.labels import Task
from training.loop.checkpoint import load_checkpoint, load_weights
from training.loop.device import CPU, Compute
from training.loop.loss import Targets
from training.nets.build import build_model


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A trained net and the side of the crops it was trained at: at another side it answers much worse."""

    model: nn.Module
    crop_pixels: int


class Teachers:
    """Trained nets whose mean answer is learned."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        if not teachers:
            raise ValueError("expected at least one teacher")
        self._teachers = tuple(teachers)
        for teacher in teachers:
            teacher.model.eval().requires_grad_(False)

    @torch.no_grad()
    def targets(self, batch: Tensor, autocast: contextlib.AbstractContextManager[Any]) -> Targets:
        """Crops n×1×s×s in 0…255 → distributions of both heads, each picture of full weight."""
        ferplus, fer2013 = [], []
        with autocast:
            for teacher in self._teachers:
                first, second = teacher.model(_resized(batch, teacher.crop_pixels))
                ferplus.append(torch.softmax(first.float(), dim=1))
                fer2013.append(torch.softmax(second.float(), dim=1))
        weight = torch.ones(len(batch), device=batch.device)
        return Targets(torch.stack(ferplus).mean(dim=0), weight, torch.stack(fer2013).mean(dim=0), weight)


def load_teachers(paths: Sequence[str], *, task: Task | None = None, compute: Compute = CPU) -> Teachers | None:
    """The averaged weights of these checkpoints, or None when there are none.

    Raises:
        ModelUnavailableError: a checkpoint does not exist.
        ManifestError: it is damaged or no checkpoint, or has other classes than the student.
    """
    task = task or Task()
    teachers = []
    for path in paths:
        checkpoint = load_checkpoint(Path(path))
        if checkpoint.task.class_names != task.class_names:
            raise ManifestError(
                f"teacher {path} tells {', '.join(checkpoint.task.class_names)} apart, the data has "
                f"{', '.join(task.class_names)}: teachers must know the same classes in the same order"
            )
        model = build_model(checkpoint.config.model, checkpoint.task)
        load_weights(model, checkpoint.ema_weights, source=Path(path))
        model = model.to(device=compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        teachers.append(Teacher(model, checkpoint.config.data.crop_pixels))
    return Teachers(teachers) if teachers else None


def taught_targets(
    teachers: Teachers, crops: Tensor, targets: Targets, config: TrainConfig, *, compute: Compute = CPU
) -> Targets:
    """Labels of crops (uint8 n×s×s) with the teachers' mean answer over `distill.num_views` variants mixed in.

    A picture without a majority of votes has the answer alone, with the weight that answers have.
    """
    share = config.distill.weight
    ferplus, fer2013 = torch.zeros_like(targets.ferplus), torch.zeros_like(targets.fer2013)
    generator = compute.generator(config.seed)
    for _ in range(config.distill.num_views):
        for start in range(0, len(crops), config.optim.batch_size):
            place = slice(start, start + config.optim.batch_size)
            with compute.placing():
                batch = augment(compute.put(crops[place]), config.augment, generator)
            answer = teachers.targets(batch.contiguous(memory_format=torch.channels_last), compute.autocast())
            ferplus[place] += answer.ferplus.cpu() / config.distill.num_views
            fer2013[place] += answer.fer2013.cpu() / config.distill.num_views
    is_known = (targets.ferplus_weight > 0)[:, None]
    return Targets(
        torch.where(is_known, torch.lerp(targets.ferplus, ferplus, share), ferplus),
        torch.where(is_known[:, 0], targets.ferplus_weight, share),
        torch.lerp(targets.fer2013, fer2013, share),
        targets.fer2013_weight,
    )


def _resized(batch: Tensor, side: int) -> Tensor:
    if batch.shape[-1] == side:
        return batch
    small = functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=side < batch.shape[-1])
    return small.contiguous(memory_format=torch.channels_last)
