"""A stream worker as a deployment."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from emostream.config import Settings
from emostream.deployments.autoscaling import has_room_for_worker
from emostream.deployments.emotion_classification import RemoteClassifier
from emostream.deployments.face_detection import RemoteDetector
from emostream.deployments.ray_metrics import RayRecorder
from emostream.deployments.reference_input import ModelWatch
from emostream.domain.machine_limits import CpuLoad
from emostream.domain.model_manifest import load_manifest
from emostream.pipeline.build import Models, load_batched_classifier, load_chosen_detector
from emostream.pipeline.process_tuning import tune_process
from emostream.service.worker.open import open_worker
from emostream.telemetry.logs import configure_logging
from emostream.vision.classify.classifier import SharedClassifier
from emostream.vision.classify.engines import model_path

# Threads of a worker with a shared detector; they mostly wait for results.
_NUM_WAITING_THREADS = 16


def _load_models(
    settings: Settings,
    classification: DeploymentHandle[Any] | None,
    detection: DeploymentHandle[Any] | None,
    loop: asyncio.AbstractEventLoop,
) -> Models:
    """Load the models of this process; of a shared classifier only the manifest."""
    tune_process()
    classifier: SharedClassifier
    if classification is None:
        classifier = load_batched_classifier(settings)
    else:
        classifier = RemoteClassifier(classification, manifest=load_manifest(model_path(settings.classify)))
    if detection is None:
        return Models(load_chosen_detector(settings), classifier)
    detector = RemoteDetector(detection, settings=settings.detect, loop=loop)
    return Models(detector, classifier, ThreadPoolExecutor(_NUM_WAITING_THREADS, "emostream-follow"))


@serve.deployment(
    name="StreamWorkers",
    ray_actor_options={"num_cpus": 0},
    max_ongoing_requests=10,
    graceful_shutdown_wait_loop_s=0.1,  # it receives no requests, so there is nothing to wait for
    graceful_shutdown_timeout_s=15,  # longer than service.drain_seconds
    health_check_period_s=2,
    health_check_timeout_s=10,
)
class StreamWorkers:
    """Each replica runs one `service/worker/worker.py`. It receives no requests; its streams are in the registry."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        settings: Settings,
        classification: DeploymentHandle[Any] | None,
        detection: DeploymentHandle[Any] | None,
    ) -> None:
        configure_logging(settings.log_level, log_format=settings.log_format, copy_to=settings.log_copy_to)
        redis_url = settings.publish.redis_url
        if redis_url is None:
            raise RuntimeError("expected a Redis URL, which `bind_app` checked")
        self._stack = AsyncExitStack()
        self._cpu_load = CpuLoad()
        loop = asyncio.get_running_loop()
        models = await asyncio.to_thread(_load_models, settings, classification, detection, loop)
        self._stack.callback(models.close)
        self._models = ModelWatch(models)
        self._stack.callback(self._models.close)
        worker_id = f"worker-{uuid.uuid4().hex[:12]}"
        self._worker = await self._stack.enter_async_context(
            open_worker(
                settings,
                redis_url=redis_url.get_secret_value(),
                worker_id=worker_id,
                models=models,
                record=RayRecorder(),
            )
        )

    async def check_health(self) -> None:
        """Called by Serve. A worker that makes no progress, or whose models fail or hang, is replaced."""
        self._worker.check()
        self._models.check(is_suspect=self._worker.is_suspect)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve for `autoscaling.py`."""
        load, busy_share = self._worker.load, self._cpu_load.busy_share()
        is_overloaded = load.is_overloaded and has_room_for_worker(busy_share)
        return {"num_wanted": float(load.num_wanted), "is_overloaded": float(is_overloaded)}

    async def __del__(self) -> None:
        """Called by Serve before the replica ends; releases the streams."""
        await self._stack.aclose()
