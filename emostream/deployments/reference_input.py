"""One input of which the answer is known: whether the models of a process still compute."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from emostream.errors import EmostreamError, InferenceError
from emostream.pipeline.build import Models
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.models.manifest import ModelManifest

_MAX_DIFFERENCE = 0.05  # the same engine gives the same; other batches differ in the last digits
_SIDE_PIXELS = 128


def reference_crops(manifest: ModelManifest) -> npt.NDArray[np.uint8]:
    """One crop, from black to white."""
    size = manifest.input_size_pixels
    return np.linspace(0, 255, size * size).astype(np.uint8).reshape(1, size, size)


def reference_picture() -> npt.NDArray[np.uint8]:
    """A gray picture with nobody in it."""
    return np.full((_SIDE_PIXELS, _SIDE_PIXELS), 128, np.uint8)


class ReferenceAnswer:
    """What a classifier answered at its start; compared with what it answers later.

    Args:
        classifier: of this process.

    Raises:
        InferenceError: it cannot compute.
    """

    def __init__(self, classifier: EmotionClassifier) -> None:
        self._classifier = classifier
        self._crops = reference_crops(classifier.manifest)
        self._expected = np.array(classifier.classify(self._crops))

    def check(self) -> None:
        """Compute it again; blocks for one batch.

        Raises:
            InferenceError: it cannot, or the answer is another one.
        """
        difference = float(np.abs(self._classifier.classify(self._crops) - self._expected).max())
        if not difference <= _MAX_DIFFERENCE:
            raise InferenceError(
                f"the engine answers otherwise than at its start: a probability differs by {difference:.3f}, at most "
                f"{_MAX_DIFFERENCE} is expected"
            )


async def check_models(models: Models) -> None:
    """Compute one input with each model of a worker. What computes elsewhere and is away has a health of its own.

    Raises:
        InferenceError: a model of this process cannot compute.
    """
    try:
        await asyncio.to_thread(models.detector.detect, reference_picture())
        await models.classifier.classify(reference_crops(models.classifier.manifest), allow_batching_delay=False)
    except EmostreamError as exc:
        if not exc.retryable:
            raise
