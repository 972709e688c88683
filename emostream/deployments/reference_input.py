"""Health checks of models by inputs with known results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.model_manifest import ModelManifest
from emostream.errors import EmostreamError, InferenceError
from emostream.pipeline.build import Models
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.engines.reference_inputs import reference_frame

_MAX_DIFFERENCE = 0.05  # an engine's results differ only in the last digits, in batches of other sizes
_FRAME_PIXELS = (320, 192)
_INTERVAL_SECONDS = 10.0
_LIMIT_SECONDS = 60.0  # for a check behind the work of all streams


def reference_crops(manifest: ModelManifest) -> npt.NDArray[np.uint8]:
    """One crop with a gradient from black to white: uint8, 1×S×S."""
    size = manifest.input_size_pixels
    return np.linspace(0, 255, size * size).astype(np.uint8).reshape(1, size, size)


@lru_cache(maxsize=1)
def reference_picture() -> npt.NDArray[np.uint8]:
    """A gray picture with faces: uint8, H×W."""
    width, height = _FRAME_PIXELS
    return reference_frame(width=width, height=height)


def best_score(faces: list[Face]) -> npt.NDArray[np.float32]:
    """The highest score, 0 without faces; found and lost faces near the threshold of a detector do not change it."""
    return np.array([max((face.score for face in faces), default=0.0)], np.float32)


def check_same(answer: npt.NDArray[np.float32], *, expected: npt.NDArray[np.float32], what: str) -> None:
    """Compare the results of a model for the same input.

    Args:
        answer: probabilities or scores.
        expected: those at its start.
        what: name of the model, for messages.

    Raises:
        InferenceError: they differ.
    """
    difference = float(np.abs(answer - expected).max())
    if not difference <= _MAX_DIFFERENCE:
        raise InferenceError(
            f"the results of {what} have changed since its start: a probability differs by {difference:.3f}, allowed "
            f"are {_MAX_DIFFERENCE}"
        )


class ReferenceAnswer:
    """Compares a model's results for a reference input with those at its start.

    Args:
        compute: runs the model; blocks.
        what: name of the model, for messages.

    Raises:
        InferenceError: it could not be run.
    """

    def __init__(self, compute: Callable[[], npt.NDArray[np.float32]], *, what: str) -> None:
        self._compute = compute
        self._what = what
        self._expected = np.array(compute())

    @classmethod
    def of_classifier(cls, classifier: EmotionClassifier) -> ReferenceAnswer:
        """Of a classifier of this process."""
        crops = reference_crops(classifier.manifest)
        return cls(lambda: classifier.classify(crops), what="the classifier")

    @classmethod
    def of_detector(cls, detector: FaceDetector) -> ReferenceAnswer:
        """Of a detector of this process."""
        picture = reference_picture()
        return cls(lambda: best_score(detector.detect(picture)), what="the detector")

    def check(self) -> None:
        """Run the model again; blocks.

        Raises:
            InferenceError: it could not be run, or the result has changed.
        """
        check_same(self._compute(), expected=self._expected, what=self._what)


class ModelWatch:
    """Runs the models of a worker on reference inputs from time to time, on the way that its streams use.

    So it notices engines that fail, that answer otherwise than at first, and calls that never return. An error of a
    shared model does not count: its deployment has a health check of its own. Used on one event loop.

    Args:
        models: of the worker.
        interval_seconds: between two checks.
        limit_seconds: a check that takes longer hangs.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        models: Models,
        *,
        interval_seconds: float = _INTERVAL_SECONDS,
        limit_seconds: float = _LIMIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._interval_seconds = interval_seconds
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._expected: dict[str, npt.NDArray[np.float32]] = {}
        self._running: asyncio.Task[None] | None = None
        self._started_seconds = self._ended_seconds = float("-inf")
        self._error: EmostreamError | None = None

    def check(self, *, is_suspect: bool = False) -> None:
        """Start a check when it is due, and judge by the last one; does not wait.

        Args:
            is_suspect: whether it is due now.

        Raises:
            EmostreamError: a model failed, its result has changed, or it does not return.
        """
        now_seconds = self._clock()
        is_due = is_suspect or self._error is not None or now_seconds - self._ended_seconds >= self._interval_seconds
        if self._running is None and is_due:
            self._started_seconds = now_seconds
            self._running = asyncio.create_task(self._check(), name="models")
        if self._running is not None and now_seconds - self._started_seconds > self._limit_seconds:
            raise InferenceError(
                f"the models have not returned from a reference input for {now_seconds - self._started_seconds:.0f} s"
            )
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait for no check any more."""
        if self._running is not None:
            self._running.cancel()

    async def _check(self) -> None:
        try:
            await self._compute()
            self._error = None
        except EmostreamError as exc:
            self._error = None if exc.retryable else exc
        except Exception as exc:  # of detectors from plugins
            self._error = InferenceError(f"a model failed on a reference input: {type(exc).__name__}: {exc}")
        finally:
            self._ended_seconds, self._running = self._clock(), None

    async def _compute(self) -> None:
        detector, classifier = self._models.detector, self._models.classifier
        loop = asyncio.get_running_loop()
        faces = await loop.run_in_executor(self._models.workers, detector.detect, reference_picture())
        self._compare(best_score(faces), what="the detector")
        answer = await classifier.classify(reference_crops(classifier.manifest), allow_batching_delay=False)
        self._compare(answer.probabilities, what="the classifier")

    def _compare(self, answer: npt.NDArray[np.float32], *, what: str) -> None:
        check_same(answer, expected=self._expected.setdefault(what, np.array(answer)), what=what)
