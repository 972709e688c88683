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

from emostream.domain.model_manifest import ModelManifest, load_manifest, sha256_of
from emostream.errors import ConfigError, ManifestError
from training.augment.warp import augment
from training.config import DistillConfig, TrainConfig
from training.data.labels import Task
from training.loop.checkpoint import load_checkpoint, load_weights
from training.loop.device import CPU, Compute
from training.loop.loss import Targets
from training.measure.inference import open_session, run_session
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
                ferplus.append(torch.softmax(first[:, : second.shape[1]].float(), dim=1))
                fer2013.append(torch.softmax(second.float(), dim=1))
        weight = torch.ones(len(batch), device=batch.device)
        return Targets(torch.stack(ferplus).mean(dim=0), weight, torch.stack(fer2013).mean(dim=0), weight)


class OnnxTeacher(nn.Module):
    """An exported model as a teacher: INT8 on a CPU answers in a quarter of the time of the net it was made from."""

    def __init__(self, path: Path, manifest: ModelManifest) -> None:
        super().__init__()
        self._manifest = manifest
        self._session = open_session(path, num_threads=torch.get_num_threads())

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Crops float n×1×s×s in 0…255 → logarithms of the probabilities of both heads, float32 n×classes."""
        crops = batch[:, 0].round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        size = self._manifest.max_batch_size
        parts = [
            run_session(
                self._session,
                crops[start : start + size],
                output_names=self._manifest.outputs,
                input_name=self._manifest.input_name,
            )
            for start in range(0, len(crops), size)
        ]
        ferplus = torch.cat([torch.from_numpy(part.ferplus) for part in parts])
        fer2013 = torch.cat([torch.from_numpy(part.fer2013) for part in parts])
        return ferplus.clamp(min=1e-8).log().to(batch.device), fer2013.clamp(min=1e-8).log().to(batch.device)


def load_teachers(config: DistillConfig, *, task: Task | None = None, compute: Compute = CPU) -> Teachers | None:
    """The nets that the settings name, or None when they name none.

    Raises:
        ModelUnavailableError: a file does not exist.
        ManifestError: it is damaged or neither checkpoint nor model, is another one than the settings say, or has other
            classes than the student.
        ConfigError: hashes for some of the teachers only.
    """
    task = task or Task()
    hashes = config.teacher_sha256 or (None,) * len(config.teachers)
    if len(hashes) != len(config.teachers):
        raise ConfigError(
            f"distill.teacher_sha256 needs one hash for each of the {len(config.teachers)} teachers, got {len(hashes)}"
        )
    teachers = [
        _load_teacher(Path(path), sha256, task, compute) for path, sha256 in zip(config.teachers, hashes, strict=True)
    ]
    return Teachers(teachers) if teachers else None


def _load_teacher(path: Path, sha256: str | None, task: Task, compute: Compute) -> Teacher:
    if sha256 is not None and path.is_file() and sha256_of(path) != sha256:
        raise ManifestError(
            f"teacher {path} is not the file of the settings: expected sha256 {sha256[:12]}…, got "
            f"{sha256_of(path)[:12]}…; bring that file back, or set distill.teacher_sha256 and take another run folder"
        )
    if path.suffix == ".onnx":
        manifest = load_manifest(path)
        _require_same_classes(path, manifest.labels, task)
        return Teacher(OnnxTeacher(path, manifest), manifest.input_size_pixels)
    checkpoint = load_checkpoint(path)
    _require_same_classes(path, checkpoint.task.class_names, task)
    model = build_model(checkpoint.config.model, checkpoint.task)
    load_weights(model, checkpoint.ema_weights, source=path)
    model = model.to(device=compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(model, checkpoint.config.data.crop_pixels)


def _require_same_classes(path: Path, class_names: Sequence[str], task: Task) -> None:
    if tuple(class_names) != task.class_names:
        raise ManifestError(
            f"teacher {path} tells {', '.join(class_names)} apart, the data has "
            f"{', '.join(task.class_names)}: teachers must know the same classes in the same order"
        )


def taught_targets(
    teachers: Teachers, crops: Tensor, targets: Targets, config: TrainConfig, *, compute: Compute = CPU
) -> Targets:
    """Labels of crops (uint8 n×s×s) with the teachers' mean answer over `distill.num_views` variants mixed in.

    A picture without a majority of votes has the answer alone, with the weight that answers have.
    """
    share = config.distill.weight
    ferplus, fer2013 = torch.zeros_like(targets.fer2013), torch.zeros_like(targets.fer2013)
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
    # Teachers answer about the classes; what people said besides stays as it is.
    words, other = targets.ferplus[:, : ferplus.shape[1]], targets.ferplus[:, ferplus.shape[1] :]
    taught = torch.where(is_known, torch.lerp(words, ferplus * words.sum(dim=1, keepdim=True), share), ferplus)
    return Targets(
        torch.cat([taught, other], dim=1),
        torch.where(is_known[:, 0], targets.ferplus_weight, share),
        torch.lerp(targets.fer2013, fer2013, share),
        targets.fer2013_weight,
    )


def _resized(batch: Tensor, side: int) -> Tensor:
    if batch.shape[-1] == side:
        return batch
    small = functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=side < batch.shape[-1])
    return small.contiguous(memory_format=torch.channels_last)
