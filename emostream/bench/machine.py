"""What the figures of a benchmark depend on: processor, cores, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Processor, cores, CPU features that matter, and versions of what the figures depend on."""
    packages = ("emostream", "av", "numpy", "onnxruntime", "opencv-python-headless", "redis")
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "num_cores": os.cpu_count(),
        "cpu_features": cpu_features(),
        "versions": {package: version(package) for package in packages},
    }


_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")


def cpu_features() -> list[str]:
    """Which of the instruction sets that speed up inference this processor has; empty where it cannot be told."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return []
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    present = next((line.split() for line in lines if line.lower().startswith(("flags", "features"))), [])
    return [feature for feature in _FEATURES if feature in present]
