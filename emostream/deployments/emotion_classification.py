"""One classifier for all workers: a deployment that batches over them, and the workers' side of it (decision D3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from emostream.classify.classifier import Classified
from emostream.classify.load import load_classifier
from emostream.classify.manifest import ModelManifest
from emostream.config import Settings
from emostream.errors import ClassifierUnavailableError, InferenceError
from emostream.logs import configure_logging

Crops = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

_MAX_BATCH_SIZE = 64  # crops; the time for one batch of this size is what a stream waits for at most
_MAX_CALLS_PER_BATCH = 64
_MAX_RETRY_SECONDS = 30.0  # a replica that was killed is back within about 10 s
_RETRY_PAUSE_SECONDS = 0.2


def _num_crops(calls: Sequence[Crops]) -> int:
    return sum(len(crops) for crops in calls)


@serve.deployment(
    name="EmotionClassification",
    max_ongoing_requests=2 * _MAX_CALLS_PER_BATCH,
    health_check_period_s=2,  # a killed replica is noticed by it
    health_check_timeout_s=10,
)
class EmotionClassification:
    """Classifies arrays of crops; arrays of several workers are put into one batch."""

    def __init__(self, settings: Settings) -> None:
        configure_logging(settings.log_level, log_format=settings.log_format)
        self._classifier = load_classifier(settings.classify, cache_dir=settings.models.cache_dir)

    @serve.batch(max_batch_size=_MAX_BATCH_SIZE, batch_wait_timeout_s=0.005, batch_size_fn=_num_crops)
    async def classify(self, calls: list[Crops]) -> list[Probabilities]:
        """uint8 n×S×S for each call → float32 n×labels."""
        probabilities = await asyncio.to_thread(self._classifier.classify, np.concatenate(calls))
        return np.split(probabilities, np.cumsum([len(crops) for crops in calls])[:-1])

    def __del__(self) -> None:
        """Release the engine."""
        self._classifier.close()


class RemoteClassifier:
    """The `SharedClassifier` of a worker that lets the deployment compute.

    Args:
        handle: of `EmotionClassification`.
        manifest: of the model that both sides loaded the description of.
    """

    def __init__(self, handle: DeploymentHandle[Any], *, manifest: ModelManifest) -> None:
        self._handle = handle
        self._manifest = manifest

    @property
    def manifest(self) -> ModelManifest:
        """The contract of the model."""
        return self._manifest

    async def classify(self, crops: Crops, *, may_wait: bool) -> Classified:
        """See `SharedClassifier.classify`; arrays are cut to what one batch takes."""
        started = time.perf_counter()
        parts = [crops[start : start + _MAX_BATCH_SIZE] for start in range(0, len(crops), _MAX_BATCH_SIZE)]
        if not parts:
            return Classified(np.empty((0, len(self._manifest.labels)), np.float32), 0.0, 0.0)
        answers = await asyncio.gather(*(self._answer(part) for part in parts))
        return Classified(np.concatenate(answers), 0.0, time.perf_counter() - started)

    async def _answer(self, crops: Crops) -> Probabilities:
        """One call, made again where its replica went away meanwhile: Serve starts another one."""
        deadline = time.monotonic() + _MAX_RETRY_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    answer: Probabilities = await self._handle.classify.remote(crops)
                return answer
            except RayTaskError as exc:  # the model itself failed; it would do so again
                raise InferenceError(f"the shared classifier failed: {exc.cause}") from exc
            except (RayError, RayServeException, TimeoutError) as exc:
                if time.monotonic() >= deadline:
                    raise ClassifierUnavailableError(
                        f"the shared classifier did not answer within {_MAX_RETRY_SECONDS:g} s: "
                        f"{exc or 'no replica is running'}"
                    ) from exc
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)

    def close(self) -> None:
        """Nothing: Serve ends the deployment."""
