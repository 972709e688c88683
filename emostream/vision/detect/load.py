"""Opens the detector that the settings name: a built-in one or a plugin (entry points of `emostream.detectors`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from emostream.config import MAX_FACES, DetectSettings
from emostream.errors import ConfigError
from emostream.vision.detect.centerface.detector import CenterFaceDetector
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.detect.yunet_detector import YuNetDetector

ENTRY_POINTS = "emostream.detectors"
"""Entry point group in which packages register detectors: kind = factory."""

DetectorFactory = Callable[[DetectSettings], FaceDetector]
"""Returns a detector that is ready to use; `settings.path` is its model file, if it needs one. Raises `ModelError` when
the model cannot be used, and `ConfigError` when the settings do not fit."""

BUILT_IN: dict[str, Callable[..., FaceDetector]] = {"centerface": CenterFaceDetector, "yunet": YuNetDetector}


def load_detector(settings: DetectSettings, *, model_path: Path, num_threads: int = 1) -> FaceDetector:
    """Open a detector of this package.

    Args:
        settings: detector and its thresholds.
        model_path: its file: the prepared CenterFace of the model store, or the user's YuNet (`settings.path`).
        num_threads: threads per picture; more than one pays off only where a single stream has idle cores.

    Raises:
        ManifestError: the file is damaged, or not a model for `settings.kind`.
    """
    return BUILT_IN[settings.kind](model_path, num_threads=num_threads, **_limits(settings))


def load_trt_detector(settings: DetectSettings, *, model_path: Path, cache_dir: Path) -> FaceDetector:
    """Open CenterFace on the GPU engine that the settings name; compile it first where it is not in the cache.

    Raises:
        EngineUnavailableError: the engine's package or a GPU is missing.
        ManifestError: the file is damaged, or the engine's results differ from the reference.
        ConfigError: the engine is not a GPU engine, or does not run this detector.
    """
    if settings.engine == "auto":
        raise ConfigError("detect.engine auto names no GPU engine: use tensorrt or tensorrt_rtx")
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
    """Open the detector of an installed plugin; see `DetectorFactory` for further errors.

    Raises:
        ConfigError: the kind is unknown, or the plugin cannot be loaded.
    """
    kind = settings.kind
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if kind not in found:
        known = ", ".join(sorted({*BUILT_IN, *found}))
        raise ConfigError(f"unknown detect.kind {kind!r}: expected one of {known}; is its package installed?")
    try:
        factory: DetectorFactory = found[kind].load()
    except Exception as exc:
        raise ConfigError(f"cannot load detector {kind!r} from {found[kind].value}: {exc}") from exc
    return factory(settings)


def _limits(settings: DetectSettings) -> dict[str, Any]:
    limits = {
        "min_face_pixels": settings.min_face_pixels,
        "min_score": settings.min_score,
        "max_iou": settings.max_iou,
        # Streams and pictures have limits of their own, and say when they leave faces out.
        "max_faces": MAX_FACES,
    }
    return limits if settings.max_input_pixels is None else {**limits, "max_input_pixels": settings.max_input_pixels}
