"""The detector the settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emostream.config import DetectSettings
from emostream.detect.centerface_detector import CenterFaceDetector
from emostream.detect.detector import FaceDetector
from emostream.detect.yunet_detector import YuNetDetector

_DETECTORS: dict[str, Callable[..., FaceDetector]] = {"centerface": CenterFaceDetector, "yunet": YuNetDetector}


def load_detector(settings: DetectSettings, *, model_path: Path, num_threads: int = 1) -> FaceDetector:
    """A detector ready to use.

    Args:
        settings: which detector, and what to look for.
        model_path: its file: the prepared CenterFace of the model store, or the user's YuNet (`settings.path`).
        num_threads: threads per picture; more than one pays only where a single stream has idle cores.

    Raises:
        ManifestError: the file is damaged, or another model than `settings.kind`.
    """
    return _DETECTORS[settings.kind](
        model_path,
        min_face_pixels=settings.min_face_pixels,
        min_score=settings.min_score,
        max_iou=settings.max_iou,
        max_faces=settings.max_faces,
        num_threads=num_threads,
    )
