"""The interface of engines on GPUs, and one engine on each GPU of the machine used as one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]


class GpuEngine(Protocol):
    """A model on one GPU, or on several. Thread-safe.

    Attributes:
        package_name: the engine's name in the settings.
        gpu_name: as NVIDIA names the GPU.
    """

    package_name: str
    gpu_name: str

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        ...

    @property
    def num_parallel_batches(self) -> int:
        """How many batches are worth running at the same time."""
        ...

    def run(self, batch: Array) -> dict[str, Array]:
        """Run the engine on its only input.

        Returns:
            Output name → new array.

        Raises:
            InferenceError: the engine does not take the input, is closed, or the GPU failed.
        """
        ...

    def close(self) -> None:
        """Release all device memory. Safe to call twice."""
        ...


class EngineGroup:
    """Gives each batch to the GPU with the fewest of them. Thread-safe.

    Args:
        engines: of one model, at least one; closed with the group.
    """

    def __init__(self, engines: Sequence[GpuEngine]) -> None:
        if not engines:
            raise ValueError("expected at least one engine")
        self._engines = tuple(engines)
        self._num_running = [0] * len(engines)
        self._lock = threading.Lock()
        self.package_name = engines[0].package_name
        names = [engine.gpu_name for engine in engines]
        kinds = [f"{names.count(name)}x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
        self.gpu_name = ", ".join(kinds)
        """Of all GPUs, for example "2x NVIDIA L40S"."""

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return self._engines[0].output_names

    @property
    def num_parallel_batches(self) -> int:
        """How many batches are worth running at the same time."""
        return sum(engine.num_parallel_batches for engine in self._engines)

    def run(self, batch: Array) -> dict[str, Array]:
        """See `GpuEngine.run`."""
        with self._lock:
            chosen = min(range(len(self._engines)), key=self._num_running.__getitem__)
            self._num_running[chosen] += 1
        try:
            return self._engines[chosen].run(batch)
        finally:
            with self._lock:
                self._num_running[chosen] -= 1

    def close(self) -> None:
        """Release all device memory. Safe to call twice."""
        for engine in self._engines:
            engine.close()
