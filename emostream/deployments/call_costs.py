"""Measures what a crop costs its worker: classified at home, and by the shared classifier over Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ray import serve

from emostream.config import Settings
from emostream.deployments.emotion_classification import RemoteClassifier
from emostream.deployments.local import running_ray
from emostream.pipeline.build import load_batched_classifier
from emostream.vision.classify.classifier import Classified, SharedClassifier

Crops = npt.NDArray[np.uint8]

_WARM_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class CallCosts:
    """Processor time of the calling process, all its threads, per crop.

    Attributes:
        num_streams, fps, faces_per_frame, seconds: the load: crops of each stream's frame, streams evenly apart.
        at_home_ms: classified in the process, by the engine of the settings.
        shared_ms: sent to a deployment that answers at once, as a fast GPU would.
        shared_calls_per_second: calls that carried the crops.
        ratio: `shared_ms` ÷ `at_home_ms`.
        shared_latency_ms: median and 99th percentile of a frame's answer.
    """

    num_streams: int
    fps: float
    faces_per_frame: int
    seconds: float
    at_home_ms: float
    shared_ms: float
    shared_calls_per_second: float
    ratio: float
    shared_latency_ms: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON-compatible values."""
        return asdict(self)


@serve.deployment(name="AnswersAtOnce", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=128)
class _AnswersAtOnce:
    """In place of `EmotionClassification` on a GPU."""

    def __init__(self, num_labels: int) -> None:
        self._num_labels = num_labels
        self._num_calls = 0

    async def classify(self, crops: Crops) -> Classified:
        self._num_calls += 1
        return Classified(np.full((len(crops), self._num_labels), 1 / self._num_labels, np.float32), 0.0, 0.0)

    async def num_calls(self) -> int:
        return self._num_calls


def measure_call_costs(
    settings: Settings, *, num_streams: int = 8, fps: float = 25.0, faces_per_frame: int = 2, seconds: float = 10.0
) -> CallCosts:
    """Classify the same crops both ways. Starts Ray on this machine.

    Raises:
        EmostreamError: Ray did not start, or the model cannot be used.
    """
    batcher = load_batched_classifier(settings)
    manifest = batcher.manifest
    load = _Load(num_streams, fps, faces_per_frame, seconds, side=manifest.input_size_pixels)
    try:
        at_home, _ = asyncio.run(load.cost_of(lambda: _ready(batcher)))
    finally:
        batcher.close()
    with running_ray(settings):
        answering: Any = _AnswersAtOnce  # the decorator has made it a deployment
        handle = serve.run(answering.bind(len(manifest.labels)), name="call-costs", route_prefix=None)

        async def remote() -> SharedClassifier:
            return RemoteClassifier(handle, manifest=manifest)

        async def run() -> tuple[float, list[float], int]:
            cost, waits = await load.cost_of(remote)
            return cost, waits, await handle.num_calls.remote()

        shared, waits, num_calls = asyncio.run(run())
    return CallCosts(
        num_streams=num_streams,
        fps=fps,
        faces_per_frame=faces_per_frame,
        seconds=seconds,
        at_home_ms=round(at_home, 3),
        shared_ms=round(shared, 3),
        shared_calls_per_second=round(num_calls / (seconds + _WARM_UP_SECONDS), 1),
        ratio=round(shared / at_home, 3),
        shared_latency_ms={f"p{level}": round(1000 * float(np.percentile(waits, level)), 1) for level in (50, 99)},
    )


async def _ready(classifier: SharedClassifier) -> SharedClassifier:
    return classifier


@dataclass(frozen=True, slots=True)
class _Load:
    num_streams: int
    fps: float
    faces_per_frame: int
    seconds: float
    side: int

    async def cost_of(self, make: Callable[[], Awaitable[SharedClassifier]]) -> tuple[float, list[float]]:
        """Milliseconds of processor time per crop, and the seconds of each answer."""
        classifier = await make()
        await self._play(classifier, seconds=_WARM_UP_SECONDS)
        began = time.process_time()
        waits = await self._play(classifier, seconds=self.seconds)
        used = time.process_time() - began
        return 1000 * used / (len(waits) * self.faces_per_frame), waits

    async def _play(self, classifier: SharedClassifier, *, seconds: float) -> list[float]:
        shape = (self.faces_per_frame, self.side, self.side)
        crops = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        waits: list[float] = []
        starts_at = time.perf_counter()

        async def one(due: float) -> None:
            await classifier.classify(crops, allow_batching_delay=True)
            waits.append(time.perf_counter() - due)

        async def stream(number: int) -> None:
            async with asyncio.TaskGroup() as frames:
                for index in range(round(seconds * self.fps)):
                    due = starts_at + (index + number / self.num_streams) / self.fps
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    frames.create_task(one(due))

        async with asyncio.TaskGroup() as streams:
            for number in range(self.num_streams):
                streams.create_task(stream(number))
        return waits
