"""The shared classifier: a deployment that batches over all workers, and the workers' client for it."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ray import serve
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from emostream.config import Settings
from emostream.deployments.call_by_call import answer_or_raise, answers_of
from emostream.deployments.classifier_metrics import measured_classifier
from emostream.deployments.joined_calls import JoinedCalls
from emostream.deployments.ray_metrics import RayRecorder
from emostream.deployments.reference_input import ReferenceAnswer
from emostream.deployments.remote_call import MAX_RETRY_SECONDS, answer_of
from emostream.domain.model_manifest import ModelManifest
from emostream.errors import ClassifierUnavailableError
from emostream.telemetry.logs import configure_logging
from emostream.vision.classify.batcher import BatchStats
from emostream.vision.classify.classifier import Classified, engine_info
from emostream.vision.classify.load import load_classifier

Crops = npt.NDArray[np.uint8]

_MAX_BATCH_SIZE = 64  # crops; a stream waits at most for one batch of this size
_MAX_CALLS_PER_BATCH = 64
_NUM_LANES = 2  # one batch is computed while the next is copied in


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    crops: Crops
    arrived_seconds: float = field(default_factory=time.monotonic)


def _num_crops(calls: Sequence[_Call]) -> int:
    return sum(len(call.crops) for call in calls)


@serve.deployment(
    name="EmotionClassification",
    ray_actor_options={"num_cpus": 0},  # so that it starts on a machine with one core as well
    max_ongoing_requests=_NUM_LANES * _MAX_CALLS_PER_BATCH,
    health_check_period_s=2,  # this is how a killed replica is noticed
    health_check_timeout_s=10,
)
class EmotionClassification:
    """Classifies crops, with arrays of several workers in one batch."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        configure_logging(settings.log_level, log_format=settings.log_format, copy_to=settings.log_copy_to)
        redis_url = settings.publish.redis_url
        if redis_url is None:
            raise RuntimeError("expected a Redis URL, which `bind_app` checked")
        self._stack = AsyncExitStack()
        self._stats = BatchStats()
        self._counting = threading.Lock()  # two batches may end at once, each in its thread
        self._classifier = await asyncio.to_thread(
            load_classifier, settings.classify, cache_dir=settings.models.cache_dir
        )
        self._stack.callback(self._classifier.close)
        self._reference = await asyncio.to_thread(ReferenceAnswer.of_classifier, self._classifier)
        await self._stack.enter_async_context(
            measured_classifier(
                settings,
                self._stats,
                redis_url=redis_url.get_secret_value(),
                process_id=f"classifier-{uuid.uuid4().hex[:12]}",
                manifest=self._classifier.manifest,
                engine=engine_info(self._classifier),
                record=RayRecorder(),
            )
        )

    async def classify(self, crops: Crops) -> Classified:
        """Classify crops.

        Args:
            crops: uint8, n×S×S.

        Returns:
            Probabilities (float32, n×labels), waiting time, and this call's share of the inference time.
        """
        answer: Classified | Exception = await self._in_batch(_Call(crops))
        return answer_or_raise(answer)

    async def check_health(self) -> None:
        """Called by Serve. A replica whose engine fails, or whose results changed since its start, is replaced."""
        await asyncio.to_thread(self._reference.check)

    @serve.batch(
        max_batch_size=_MAX_BATCH_SIZE,
        batch_wait_timeout_s=0.005,
        batch_size_fn=_num_crops,
        max_concurrent_batches=_NUM_LANES,
    )
    async def _in_batch(self, calls: list[_Call]) -> list[Classified | Exception]:
        return await answers_of(self._compute, calls)

    def _compute(self, calls: Sequence[_Call]) -> list[Classified]:
        """Classify a batch, in a thread."""
        started = time.monotonic()
        crops = np.concatenate([call.crops for call in calls])
        probabilities = self._classifier.classify(crops)
        seconds, waits = time.monotonic() - started, [started - call.arrived_seconds for call in calls]
        with self._counting:
            self._stats.add_batch(len(crops), wait_seconds=sum(waits), compute_seconds=seconds)
        parts = np.split(probabilities, np.cumsum([len(call.crops) for call in calls])[:-1])
        return [
            Classified(part, waited, seconds * len(part) / len(crops))
            for part, waited in zip(parts, waits, strict=True)
        ]

    async def __del__(self) -> None:
        """Called by Serve before the replica ends; releases the engine."""
        await self._stack.aclose()


def _is_of_the_model(exc: Exception) -> bool:
    """Whether a call failed in the model, and not because no replica answered."""
    return isinstance(exc.__cause__, RayTaskError)


class RemoteClassifier:
    """The `SharedClassifier` of a worker that calls the deployment, with the crops of all its streams in one call.

    Args:
        handle: of `EmotionClassification`.
        manifest: of the deployment's model, loaded from the same settings.
        max_retry_seconds: limit of the time that crops wait for their result.
    """

    def __init__(
        self,
        handle: DeploymentHandle[Any],
        *,
        manifest: ModelManifest,
        max_retry_seconds: float = MAX_RETRY_SECONDS,
    ) -> None:
        self._handle = handle
        self._manifest = manifest
        self._max_retry_seconds = max_retry_seconds
        self._calls = JoinedCalls(self._answer, max_crops=_MAX_BATCH_SIZE, is_due_to_crops=_is_of_the_model)

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the model."""
        return self._manifest

    async def classify(self, crops: Crops, *, allow_batching_delay: bool) -> Classified:
        """See `SharedClassifier.classify`; arrays are split to the size of a batch."""
        started = time.perf_counter()
        parts = [crops[start : start + _MAX_BATCH_SIZE] for start in range(0, len(crops), _MAX_BATCH_SIZE)]
        if not parts:
            return Classified(np.empty((0, len(self._manifest.labels)), np.float32), 0.0, 0.0)
        calls = (self._calls.classify(part, may_wait=allow_batching_delay) for part in parts)
        answers = await asyncio.gather(*calls)
        computed = sum(answer.compute_seconds for answer in answers)
        # The rest is waiting for the batch, and transfer.
        waited = max(0.0, time.perf_counter() - started - computed)
        return Classified(np.concatenate([answer.probabilities for answer in answers]), waited, computed)

    async def _answer(self, crops: Crops) -> Classified:
        answer: Classified = await answer_of(
            lambda: self._handle.classify.remote(crops),
            what="the shared classifier",
            unavailable=ClassifierUnavailableError,
            max_retry_seconds=self._max_retry_seconds,
        )
        return answer

    def close(self) -> None:
        """Do nothing; Serve ends the deployment."""
