"""What the figures of a benchmark depend on: processor, cores, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from emostream.processor import cpu_features, processor_name


def describe_machine() -> dict[str, Any]:
    """Processor, cores, CPU features that matter, and versions of what the figures depend on."""
    packages = ("emostream", "av", "numpy", "onnxruntime", "opencv-python-headless", "redis")
    return {
        "platform": platform.platform(),
        "processor": processor_name(),
        "python": platform.python_version(),
        "num_cores": os.cpu_count(),
        "cpu_features": cpu_features(),
        "versions": {package: version(package) for package in packages},
    }
