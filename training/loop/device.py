"""Where a run computes, and in what numbers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emostream.errors import ConfigError
from training.config import TrainConfig

_AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and the precision of the forward pass on it."""

    device: torch.device
    precision: str = "fp32"

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Inside, torch computes in the precision where that is safe, operator by operator."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=_AUTOCAST_DTYPES[self.precision])

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps small gradients above the smallest fp16 number; with other precisions it does nothing."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def generator(self, seed: int) -> torch.Generator:
        """Random numbers on the device, so that what is drawn need not be carried there."""
        return torch.Generator(self.device).manual_seed(seed)

    def placing(self) -> contextlib.AbstractContextManager[Any]:
        """Inside, new tensors are made on the device where the code that makes them names none."""
        return contextlib.nullcontext() if self.device.type == "cpu" else self.device

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor on the device; a copy to a GPU goes on while the caller does."""
        if self.device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)


CPU = Compute(torch.device("cpu"))


def open_compute(config: TrainConfig, *, device: torch.device | None = None, num_workers: int = 1) -> Compute:
    """Choose the device of the settings and set up torch for it: threads, seeds of the process, deterministic kernels.

    Args:
        config: all settings of the run.
        device: the one that a launcher gave this process; None leaves it to the settings.
        num_workers: processes of the run on this machine, which share its threads.

    Raises:
        ConfigError: there is no such device, or it cannot compute in the precision.
    """
    chosen = device or _device_of(config.device)
    _check_precision(config.precision, chosen)
    torch.set_num_threads(max(1, config.num_threads // num_workers))
    torch.manual_seed(config.seed)
    torch.backends.cudnn.deterministic = config.deterministic
    torch.backends.cudnn.benchmark = not config.deterministic
    return Compute(chosen, config.precision)


def _device_of(name: str) -> torch.device:
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "this torch was built without CUDA" if torch.version.cuda is None else "no GPU is visible"
        raise ConfigError(f"device cuda is not available: {why}; set device=cpu, or device=auto to take what is there")
    return torch.device("cuda", torch.cuda.current_device())


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU; set precision=bf16 or precision=fp32 on a CPU")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise ConfigError(f"precision bf16 is not supported by {name}; set precision=fp16")
