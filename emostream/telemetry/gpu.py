"""GPU memory and utilisation from NVML, NVIDIA's management library, which is part of the driver."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """The load of one GPU.

    Attributes:
        name: its index on this machine.
        used_bytes, total_bytes: memory, over all programs.
        utilization_ratio: share of the last sample period in which it was busy, 0…1.
    """

    name: str
    used_bytes: int
    total_bytes: int
    utilization_ratio: float


def gpu_loads() -> list[GpuLoad]:
    """The load of all GPUs; empty without driver or `cuda-bindings`, and without GPUs that do not report (MIG)."""
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
    """NVML, initialised; None where it is not available. Cached, because drivers are not installed at run time."""
    try:
        nvml = importlib.import_module("cuda.bindings.nvml")
        nvml.init_v2()
    except (ImportError, RuntimeError, AttributeError):  # no package, no driver (also as NvmlError), an older package
        return None
    except Exception as exc:  # NvmlError is not a RuntimeError in all versions
        if type(exc).__module__.startswith("cuda."):
            return None
        raise
    return nvml
