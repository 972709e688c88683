"""Figures of the process itself and of its machine."""

from __future__ import annotations

import os
import platform
import resource
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
from emostream.telemetry.values import Figures, Growth

_STATM = Path("/proc/self/statm")


class ProcessFigures:
    """Brings memory, processor time, versions and GPUs up to date at each `collect`."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._growth = Growth()

    def collect(self) -> None:
        """Look now."""
        figures = self._figures
        figures.set(BUILD_INFO, 1, version=version("emostream"), python=platform.python_version())
        figures.set(MEMORY, resident_memory_bytes())
        figures.add(CPU_SECONDS, self._growth.of("cpu", time.process_time()))
        for load in gpu_loads():
            figures.set(GPU_MEMORY_USED, load.used_bytes, gpu=load.name)
            figures.set(GPU_MEMORY_TOTAL, load.total_bytes, gpu=load.name)
            figures.set(GPU_UTILIZATION, load.utilization_ratio, gpu=load.name)


def resident_memory_bytes() -> int:
    """Memory of this process that is in RAM; where the system does not say, the most there ever was."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        greatest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return greatest if sys.platform == "darwin" else 1024 * greatest  # bytes on macOS, KiB elsewhere
