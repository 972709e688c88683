"""Describes what benchmark results depend on: processor, cores, versions, models."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from emostream.config import Settings
from emostream.domain.machine_limits import num_usable_cores
from emostream.domain.model_manifest import ModelManifest
from emostream.pipeline.build import Models
from emostream.vision.engines.processor import cpu_features, processor_name
from emostream.vision.models.store import ModelStore


def describe_machine() -> dict[str, Any]:
    """Processor, number of cores, relevant CPU features, and package versions."""
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
    """Name, variant and hash of the measured models."""
    return {"classifier": describe_classifier(models.classifier.manifest), "detector": describe_detector(settings)}


def describe_classifier(manifest: ModelManifest) -> dict[str, Any]:
    """Identity of the classifier, from its manifest."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "precision": manifest.precision,
        "input_size_pixels": manifest.input_size_pixels,
        "sha256": manifest.sha256,
    }


def describe_detector(settings: Settings) -> dict[str, Any]:
    """The configured detector, and the hash of the published file that it was prepared from."""
    detect = settings.detect
    described: dict[str, Any] = {"kind": detect.kind, "precision": detect.precision}
    if detect.kind == "centerface":
        described["sha256"] = ModelStore(settings.models).entry("centerface").sha256
    return described
