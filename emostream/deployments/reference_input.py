"""Health checks of models by inputs with known results."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from emostream.domain.model_manifest import ModelManifest
from emostream.errors import EmostreamError, InferenceError
from emostream.pipeline.build import Models
from emostream.vision.classify.classifier import EmotionClassifier

_MAX_DIFFERENCE = 0.05  # an engine's results differ only in the last digits, in batches of other sizes
_SIDE_PIXELS = 128


def reference_crops(manifest: ModelManifest) -> npt.NDArray[np.uint8]:
    """One crop with a gradient from black to white: uint8, 1×S×S."""
    size = manifest.input_size_pixels
    return np.linspace(0, 255, size * size).astype(np.uint8).reshape(1, size, size)


def reference_picture() -> npt.NDArray[np.uint8]:
    """A gray picture without a face: uint8, H×W."""
    return np.full((_SIDE_PIXELS, _SIDE_PIXELS), 128, np.uint8)


class ReferenceAnswer:
    """Compares a classifier's results with those at its start.

    Args:
        classifier: of this process.

    Raises:
        InferenceError: it could not be run.
    """

    def __init__(self, classifier: EmotionClassifier) -> None:
        self._classifier = classifier
        self._crops = reference_crops(classifier.manifest)
        self._expected = np.array(classifier.classify(self._crops))

    def check(self) -> None:
        """Classify the reference crop again; blocks for one batch.

        Raises:
            InferenceError: the model could not be run, or the result has changed.
        """
        difference = float(np.abs(self._classifier.classify(self._crops) - self._expected).max())
        if not difference <= _MAX_DIFFERENCE:
            raise InferenceError(
                f"the engine's results have changed since its start: a probability differs by {difference:.3f}, "
                f"allowed are {_MAX_DIFFERENCE}"
            )


async def check_models(models: Models) -> None:
    """Run each model of a worker on a reference input. Models of other deployments have health checks of their own.

    Raises:
        InferenceError: a model of this process could not be run.
    """
    try:
        await asyncio.to_thread(models.detector.detect, reference_picture())
        await models.classifier.classify(reference_crops(models.classifier.manifest), allow_batching_delay=False)
    except EmostreamError as exc:
        if not exc.retryable:
            raise
