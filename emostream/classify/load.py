"""The classifier the settings ask for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from emostream.classify.classifier import EmotionClassifier
from emostream.classify.ort_classifier import OrtClassifier
from emostream.config import ClassifySettings
from emostream.errors import ConfigError
from emostream.processor import has_int8_instructions

Precision = Literal["auto", "fp32", "int8"]


def packaged_model_path(precision: Precision = "auto") -> Path:
    """The emotion model inside this package; `auto` is INT8 where the processor has instructions for it."""
    is_int8 = precision == "int8" or (precision == "auto" and has_int8_instructions())
    return Path(str(files("emostream.models").joinpath("emotions.onnx" if is_int8 else "emotions-fp32.onnx")))


def load_classifier(settings: ClassifySettings, *, num_threads: int = 1) -> EmotionClassifier:
    """A classifier ready to use, by the type of the model file.

    Args:
        settings: which file, and how large batches may be.
        num_threads: threads per batch; more than one pays only where a single stream has idle cores.

    Raises:
        ModelUnavailableError: the file or its manifest does not exist.
        ManifestError: they are damaged, foreign, or do not fit each other.
        ConfigError: no engine runs this type of file, or the model does not allow batches of this size.
    """
    path = settings.model or packaged_model_path(settings.precision)
    if path.suffix.lower() != ".onnx":
        raise ConfigError(f"no engine runs model file {path}: expected an .onnx file; set classify.model")
    classifier = OrtClassifier(path, max_batch_size=settings.max_batch_size, num_threads=num_threads)
    allowed = classifier.manifest.max_batch_size
    if settings.max_batch_size > allowed:
        classifier.close()
        raise ConfigError(
            f"model {path} allows batches of {allowed}, settings ask for {settings.max_batch_size}; set "
            f"classify.max_batch_size to at most {allowed}, or export the model again with a larger one"
        )
    return classifier
