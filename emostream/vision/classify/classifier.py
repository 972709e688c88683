"""The role of an emotion classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from emostream.vision.models.manifest import ModelManifest


class EmotionClassifier(Protocol):
    """Turns a batch of crops into probabilities.

    Called from worker threads, possibly several at once, so `classify` must be thread-safe. It may block for the length
    of one inference. The result is a new array that the caller owns.
    """

    @property
    def manifest(self) -> ModelManifest:
        """The contract of the loaded model: labels, input size, largest batch."""
        ...

    @property
    def wanted_batch_size(self) -> int:
        """A batch of this many crops is worth waiting a few milliseconds for; 1 where larger ones are no cheaper."""
        ...

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 n×S×S (gray, full range, framed like FER2013) → float32 n×len(labels), each row a distribution.

        n may be 0 and may exceed the manifest's `max_batch_size`; the implementation splits. Raises `InferenceError`.
        """
        ...

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """Probabilities for the crops of one call, and what they cost.

    Attributes:
        probabilities: float32, n×len(labels), each row a distribution.
        wait_seconds: from the call to the start of its batch.
        compute_seconds: this call's share of the time of its batch, by number of crops.
    """

    probabilities: npt.NDArray[np.float32]
    wait_seconds: float
    compute_seconds: float


class SharedClassifier(Protocol):
    """What pipelines await: one classifier for all streams of a process, wherever it runs."""

    @property
    def manifest(self) -> ModelManifest:
        """The contract of the model."""
        ...

    async def classify(self, crops: npt.NDArray[np.uint8], *, allow_batching_delay: bool) -> Classified:
        """Classify n ≥ 0 crops (uint8, n×S×S), which stay unchanged until this returns.

        `allow_batching_delay` says whether more crops may be waited for: live sources bring few at a time, files bring
        full batches and gain nothing. Calls may overlap; each gets its own rows. Raises `InferenceError`.
        """
        ...

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        ...
