"""The role of an emotion classifier."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from emostream.classify.manifest import ModelManifest


class EmotionClassifier(Protocol):
    """Turns a batch of crops into probabilities.

    Called from worker threads, possibly several at once, so `classify` must be thread-safe. It may block for the length
    of one inference. The result is a new array that the caller owns.
    """

    @property
    def manifest(self) -> ModelManifest:
        """The contract of the loaded model: labels, input size, largest batch."""
        ...

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 n×S×S (gray, full range, framed like FER2013) → float32 n×len(labels), each row a distribution.

        n may be 0 and may exceed the manifest's `max_batch_size`; the implementation splits. Raises `InferenceError`.
        """
        ...

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        ...
