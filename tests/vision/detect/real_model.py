"""The real detector for tests on real pictures; they are skipped where the model store does not hold it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from emostream.config import DetectSettings, ModelSettings
from emostream.errors import ModelError
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.detect.load import load_detector


@cache
def centerface_path() -> Path:
    """The prepared CenterFace file, never downloaded by a test."""
    from emostream.vision.models.store import ModelStore

    try:
        return ModelStore(ModelSettings(offline=True)).path_of("centerface")
    except ModelError as exc:
        pytest.skip(f"needs the detector in the model store: {exc}")


def real_detector(**settings: float) -> FaceDetector:
    """CenterFace with these `DetectSettings`."""
    return load_detector(DetectSettings.model_validate(settings), model_path=centerface_path())
