"""The detector the settings ask for, built in or from an installed package (entry points `emostream.detectors`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from emostream.config import DetectSettings
from emostream.errors import ConfigError
from emostream.vision.detect.centerface.detector import CenterFaceDetector
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.detect.yunet_detector import YuNetDetector

ENTRY_POINTS = "emostream.detectors"
"""The group under which packages name their detectors: kind = factory."""

DetectorFactory = Callable[[DetectSettings], FaceDetector]
"""Gives a detector ready to use; `settings.path` is its file, if it needs one. Raises `ModelError` when that cannot be
used, and `ConfigError` when the settings do not fit."""

BUILT_IN: dict[str, Callable[..., FaceDetector]] = {"centerface": CenterFaceDetector, "yunet": YuNetDetector}


def load_detector(settings: DetectSettings, *, model_path: Path, num_threads: int = 1) -> FaceDetector:
    """A detector of this package, ready to use.

    Args:
        settings: which detector, and what to look for.
        model_path: its file: the prepared CenterFace of the model store, or the user's YuNet (`settings.path`).
        num_threads: threads per picture; more than one pays only where a single stream has idle cores.

    Raises:
        ManifestError: the file is damaged, or another model than `settings.kind`.
    """
    return BUILT_IN[settings.kind](model_path, num_threads=num_threads, **_limits(settings))


def load_trt_detector(settings: DetectSettings, *, model_path: Path, cache_dir: Path) -> FaceDetector:
    """CenterFace on the engine for a GPU that the settings name; compiled first where it is not in the cache.

    Raises:
        EngineUnavailableError: its package or a GPU is not here.
        ManifestError: the file is damaged, or the engine answers differently from it.
        ConfigError: the engine is none, or does not run this detector.
    """
    if settings.engine == "onnxruntime" or settings.kind != "centerface":
        raise ConfigError(f"detect.engine {settings.engine} does not run detector {settings.kind}; use onnxruntime")
    from emostream.vision.detect.trt_network import MAX_SIDE_PIXELS, load_trt_network

    network = load_trt_network(
        settings.engine,
        model_path,
        precision="fp32" if settings.precision == "fp32" else "fp16",
        cache_dir=cache_dir,
    )
    return CenterFaceDetector(network, max_input_side_pixels=MAX_SIDE_PIXELS, **_limits(settings))


def load_plugin_detector(settings: DetectSettings) -> FaceDetector:
    """The detector of an installed package; see `DetectorFactory` for what it raises.

    Raises:
        ConfigError: nobody knows the kind, or the package's detector cannot be loaded.
    """
    kind = settings.kind
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if kind not in found:
        known = ", ".join(sorted({*BUILT_IN, *found}))
        raise ConfigError(f"there is no detector {kind!r} (detect.kind): expected one of {known}; is it installed?")
    try:
        factory: DetectorFactory = found[kind].load()
    except Exception as exc:
        raise ConfigError(f"the detector {kind!r} of {found[kind].value} cannot be loaded: {exc}") from exc
    return factory(settings)


def _limits(settings: DetectSettings) -> dict[str, Any]:
    return {
        "min_face_pixels": settings.min_face_pixels,
        "min_score": settings.min_score,
        "max_iou": settings.max_iou,
        "max_faces": settings.max_faces,
    }
