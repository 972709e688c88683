"""The interface of an emotion classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from emostream.domain.model_manifest import ModelManifest


class EmotionClassifier(Protocol):
    """Computes probabilities for a batch of crops.

    Called from worker threads, possibly several at once, so `classify` must be thread-safe. It may block for the
    duration of one inference. The result is a new array that the caller owns.
    """

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the loaded model: labels, input size, largest batch."""
        ...

    @property
    def wanted_batch_size(self) -> int:
        """Batch size that is worth waiting a few milliseconds for; 1 where larger batches are no cheaper per crop."""
        ...

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classify crops.

        Args:
            crops: uint8, n×S×S, gray, full range, framed like FER2013. n may be 0 and may exceed the manifest's
                `max_batch_size`; the implementation splits the batch.

        Returns:
            float32, n×len(labels); each row is a probability distribution.

        Raises:
            InferenceError: the model could not be run on these crops.
        """
        ...

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What computes a model.

    Attributes:
        engine: its name in the settings.
        precision: arithmetic of the model.
        device: `cpu`, or the name of the GPU.
    """

    engine: str
    precision: str
    device: str


def engine_info(classifier: EmotionClassifier) -> EngineInfo:
    """What computes a classifier; engines of plugins need not say it in an attribute of this name."""
    info = getattr(classifier, "engine_info", None)
    return info if isinstance(info, EngineInfo) else EngineInfo("plugin", classifier.manifest.precision, "unknown")


def parallel_batches(classifier: EmotionClassifier) -> int | None:
    """Batches that a classifier on a processor of its own computes at the same time; None where the CPU computes.

    Engines say it in an attribute `num_parallel_batches`. For one that wants batches and does not, it is 2: one is
    computed while the next is copied.
    """
    number = getattr(classifier, "num_parallel_batches", 2)
    return int(number) if classifier.wanted_batch_size > 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """Probabilities of the crops of one call, and the time that they took.

    Attributes:
        probabilities: float32, n×len(labels); each row is a probability distribution.
        wait_seconds: from the call to the start of its batch.
        compute_seconds: this call's share of its batch's inference time, by number of crops.
    """

    probabilities: npt.NDArray[np.float32]
    wait_seconds: float
    compute_seconds: float


class SharedClassifier(Protocol):
    """The classifier that all streams of a process share. Pipelines await it; it may run in another process."""

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the model."""
        ...

    async def classify(self, crops: npt.NDArray[np.uint8], *, allow_batching_delay: bool) -> Classified:
        """Classify crops together with those of other calls. Calls may overlap; each gets its own rows.

        Args:
            crops: uint8, n×S×S, n ≥ 0. Must not change until this returns.
            allow_batching_delay: whether to wait for more crops. Useful for live sources, which bring few crops at a
                time; files bring full batches.

        Raises:
            InferenceError: the model could not be run on these crops.
        """
        ...

    def close(self) -> None:
        """Release the engine. Safe to call twice."""
        ...
