"""Metrics of the process and its machine."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from emostream.telemetry.gpu import gpu_loads
from emostream.telemetry.metrics import (
    BUILD_INFO,
    CPU_SECONDS,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_UTILIZATION,
    MEMORY,
)
from emostream.telemetry.values import Deltas, MetricValues

_STATM = Path("/proc/self/statm")


class ProcessMetrics:
    """Updates memory, CPU time, versions and GPU load at each `collect`."""

    def __init__(self, metric_values: MetricValues) -> None:
        self._metric_values = metric_values
        self._deltas = Deltas()

    def collect(self) -> None:
        """Measure and store the values."""
        metric_values = self._metric_values
        metric_values.set(BUILD_INFO, 1, version=version("emostream"), python=platform.python_version())
        if memory_bytes := resident_memory_bytes():
            metric_values.set(MEMORY, memory_bytes)
        metric_values.add(CPU_SECONDS, self._deltas.of("cpu", time.process_time()))
        for load in gpu_loads():
            metric_values.set(GPU_MEMORY_USED, load.used_bytes, gpu=load.name)
            metric_values.set(GPU_MEMORY_TOTAL, load.total_bytes, gpu=load.name)
            metric_values.set(GPU_UTILIZATION, load.utilization_ratio, gpu=load.name)


def resident_memory_bytes() -> int:
    """Resident memory of this process; its maximum so far where the system does not report the current value.

    0 on Windows, where Python's standard library offers neither.
    """
    if sys.platform == "win32":
        return 0
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        greatest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return greatest if sys.platform == "darwin" else 1024 * greatest  # bytes on macOS, KiB elsewhere
