"""The shared detector: a deployment that searches downscaled frames of all workers, and the workers' client for it."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from emostream.config import DetectSettings, Settings
from emostream.deployments.call_by_call import answer_or_raise, answers_of
from emostream.deployments.reference_input import ReferenceAnswer
from emostream.deployments.remote_call import MAX_RETRY_SECONDS, answer_of
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.errors import ConfigError, DetectorUnavailableError
from emostream.pipeline.build import load_chosen_detector
from emostream.pipeline.process_tuning import tune_process
from emostream.telemetry.logs import configure_logging
from emostream.vision.detect.centerface.detector import (
    DEFAULT_MAX_INPUT_PIXELS,
    CenterFaceDetector,
    CenterFaceInput,
)
from emostream.vision.detect.detector import Candidates

_MAX_BATCH_SIZE = 16  # pictures; a stream waits at most for one batch of this size


@serve.deployment(
    name="FaceDetection",
    ray_actor_options={"num_cpus": 0},
    max_ongoing_requests=4 * _MAX_BATCH_SIZE,
    health_check_period_s=2,  # this is how a killed replica is noticed
    health_check_timeout_s=10,
)
class FaceDetection:
    """Searches downscaled frames, with those of several workers in one batch."""

    def __init__(self, settings: Settings) -> None:
        configure_logging(settings.log_level, log_format=settings.log_format, copy_to=settings.log_copy_to)
        tune_process()
        detector = load_chosen_detector(settings)
        if not isinstance(detector, CenterFaceDetector):
            raise ConfigError(f"a shared detector must be centerface, got detect.kind {settings.detect.kind}")
        self._detector = detector
        self._reference = ReferenceAnswer.of_detector(detector)

    async def search(self, picture: Luma) -> Candidates:
        """Find faces in an input (uint8, H×W, as made by `CenterFaceInput`); results are in its pixels."""
        answer: Candidates | Exception = await self._in_batch(picture)
        return answer_or_raise(answer)

    async def check_health(self) -> None:
        """Called by Serve. A replica whose network fails, or whose results changed since its start, is replaced."""
        await asyncio.to_thread(self._reference.check)

    @serve.batch(max_batch_size=_MAX_BATCH_SIZE, batch_wait_timeout_s=0.005)
    async def _in_batch(self, pictures: list[Luma]) -> list[Candidates | Exception]:
        return await answers_of(self._detector.search, pictures)


class RemoteDetector:
    """The `FaceDetector` of a worker that calls the deployment. Only the detector's small input is sent.

    Args:
        handle: of `FaceDetection`.
        settings: the same on both sides.
        loop: the worker's event loop, on which calls are awaited; `detect` is called in other threads.
        max_retry_seconds: limit of the time that a picture waits for its result.
    """

    name = "centerface"

    def __init__(
        self,
        handle: DeploymentHandle[Any],
        *,
        settings: DetectSettings,
        loop: asyncio.AbstractEventLoop,
        max_retry_seconds: float = MAX_RETRY_SECONDS,
    ) -> None:
        self._handle = handle
        self._loop = loop
        self._input = CenterFaceInput(
            settings.min_face_pixels,
            settings.max_input_pixels or DEFAULT_MAX_INPUT_PIXELS,
            _max_side_pixels(settings),
        )
        self._max_retry_seconds = max_retry_seconds

    def detect(self, luma: Luma) -> list[Face]:
        """See `FaceDetector.detect`. Blocks until the result arrives; must not be called on the event loop.

        Raises:
            DetectorUnavailableError: there was no result in time, or the picture could not be searched.
        """
        if luma.size == 0:
            return []
        letterbox = self._input.letterbox(luma.shape[1], luma.shape[0])
        answering = asyncio.run_coroutine_threadsafe(self._answer(letterbox.shrink(luma)), self._loop)
        return answering.result().to_faces(letterbox)

    def smallest_face_pixels(self, width: int, height: int) -> float:
        """See `SizedDetector`."""
        return self._input.smallest_face_pixels(width, height)

    async def _answer(self, picture: Luma) -> Candidates:
        answer: Candidates = await answer_of(
            lambda: self._handle.search.remote(picture),
            what="the shared detector",
            unavailable=DetectorUnavailableError,
            max_retry_seconds=self._max_retry_seconds,
        )
        return answer


def _max_side_pixels(settings: DetectSettings) -> int | None:
    """The longest side that the deployment's network accepts."""
    if settings.engine == "onnxruntime":
        return None
    from emostream.vision.detect.trt_network import MAX_SIDE_PIXELS

    return MAX_SIDE_PIXELS
