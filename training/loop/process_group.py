"""The processes that train one net together, as each of them sees the others.

Only torch's collectives are used here, so nothing depends on what started the processes (`training.loop.distributed`
does). A run in one process is a world of one, where all of this costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True, slots=True)
class World:
    """This process among all.

    Every method but the properties and `share` is a collective operation: all processes call it, in the same order.

    Attributes:
        rank: of this process, 0-based.
        size: number of processes.
        local_size: number of them on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share(self, index: Tensor) -> Tensor:
        """This process's part of what all work on: consecutive, of equal length give or take one."""
        return torch.tensor_split(index, self.size)[self.rank]

    def of_first(self, value: float, *, device: torch.device) -> float:
        """The value that the first process holds: clocks differ, and all must decide alike."""
        if self.size == 1:
            return value
        held = torch.tensor([value], dtype=torch.float64, device=device)
        distributed.broadcast(held, src=0)
        return float(held)

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, in place."""
        if self.size == 1:
            return
        for tensor in tensors:
            distributed.all_reduce(tensor)
            tensor.div_(self.size)

    def join(self, part: Tensor) -> Tensor:
        """The parts of all processes, in the order of ranks, along the first dimension, in host memory."""
        if self.size == 1:
            return part.cpu()
        parts: list[Tensor] = [torch.empty(0)] * self.size
        distributed.all_gather_object(parts, part.cpu())
        return torch.cat(parts)

    def average_batch_statistics(self, *models: nn.Module) -> None:
        """Give all processes the same running statistics of batch norms.

        Each process sees its own part of every batch. A running statistic is a linear average of what was seen, so the
        mean over the processes now is the same as having averaged at every step.
        """
        self.average(buffer for model in models for buffer in model.buffers() if buffer.dtype.is_floating_point)


ALONE = World()
