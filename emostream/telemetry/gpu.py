"""The load of this machine's GPUs, from NVIDIA's management library (NVML), which comes with the driver."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """One GPU at one instant.

    Attributes:
        name: its index on this machine.
        used_bytes, total_bytes: memory, of all programs together.
        utilization_ratio: share of the last sample period in which it computed, 0…1.
    """

    name: str
    used_bytes: int
    total_bytes: int
    utilization_ratio: float


def gpu_loads() -> list[GpuLoad]:
    """All GPUs; none where there is no driver, no `cuda-bindings`, or a GPU does not say (parts of one under MIG)."""
    nvml = _nvml()
    if nvml is None:
        return []
    loads = []
    for index in range(nvml.device_get_count_v2()):
        try:
            device = nvml.device_get_handle_by_index_v2(index)
            memory, rates = nvml.device_get_memory_info_v2(device), nvml.device_get_utilization_rates(device)
        except nvml.NvmlError:
            continue
        loads.append(GpuLoad(str(index), int(memory.used), int(memory.total), rates.gpu / 100))
    return loads


@functools.cache
def _nvml() -> Any:
    """The library, ready for use; None where it cannot be had. Asked for once: a driver does not come and go."""
    try:
        nvml = importlib.import_module("cuda.bindings.nvml")
        nvml.init_v2()
    except (ImportError, RuntimeError, AttributeError):  # no package, no driver (also as NvmlError), an older package
        return None
    except Exception as exc:  # NvmlError is no RuntimeError in all versions
        if type(exc).__module__.startswith("cuda."):
            return None
        raise
    return nvml
