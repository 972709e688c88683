"""What the figures of a benchmark depend on: processor, cores, versions, models."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from emostream.config import Settings
from emostream.machine_limits import num_usable_cores
from emostream.pipeline.build import Models
from emostream.vision.engines.processor import cpu_features, processor_name
from emostream.vision.models.manifest import ModelManifest
from emostream.vision.models.store import ModelStore


def describe_machine() -> dict[str, Any]:
    """Processor, cores, CPU features that matter, and versions of what the figures depend on."""
    packages = ("emostream", "av", "numpy", "onnxruntime", "opencv-python-headless", "redis")
    return {
        "platform": platform.platform(),
        "processor": processor_name(),
        "python": platform.python_version(),
        "num_cores": num_usable_cores(),
        "cpu_features": cpu_features(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": {package: version(package) for package in packages},
    }


def describe_models(settings: Settings, models: Models) -> dict[str, Any]:
    """Name, form and hash of what is measured."""
    return {"classifier": describe_classifier(models.classifier.manifest), "detector": describe_detector(settings)}


def describe_classifier(manifest: ModelManifest) -> dict[str, Any]:
    """What the manifest says of the file that runs."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "precision": manifest.precision,
        "input_size_pixels": manifest.input_size_pixels,
        "sha256": manifest.sha256,
    }


def describe_detector(settings: Settings) -> dict[str, Any]:
    """Which detector the settings ask for, and the hash of the published file it was made from."""
    detect = settings.detect
    described: dict[str, Any] = {"kind": detect.kind, "precision": detect.precision}
    if detect.kind == "centerface":
        described["sha256"] = ModelStore(settings.models).entry("centerface").sha256
    return described
