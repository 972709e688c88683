"""One detector for all workers keeps the contract, in batches and over a replica that dies; without Ray."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emostream.config import DetectSettings, load_settings
from emostream.domain.frame import Luma
from emostream.errors import ConfigError, DetectorUnavailableError, InferenceError
from emostream.testing.detector_contract import check_detector
from emostream.vision.detect.centerface.detector import CenterFaceDetector
from emostream.vision.detect.detector import Candidates
from emostream.vision.detect.load import load_detector
from tests.vision.detect.real_model import real_detector
from tests.vision.detect.test_detectors import frame_with_spots
from tests.vision.detect.tiny_models import tiny_centerface

pytest.importorskip("ray")

from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import ReplicaUnavailableError

from emostream.deployments.app import AppArgs, bind_app, build_app
from emostream.deployments.face_detection import RemoteDetector

SETTINGS = DetectSettings(min_face_pixels=20, min_score=0.5)
REDIS = {"redis_url": "redis://localhost:6379/0"}


class Handle:
    """Answers as the deployment does, after some failures."""

    def __init__(self, detector: CenterFaceDetector, *failures: Exception, is_gone: bool = False) -> None:
        self.search = self
        self.shapes: list[tuple[int, ...]] = []
        self._detector = detector
        self._failures = list(failures)
        self._is_gone = is_gone

    async def remote(self, picture: Luma) -> Candidates:
        self.shapes.append(picture.shape)
        if self._is_gone:
            raise ActorDiedError
        if self._failures:
            raise self._failures.pop(0)
        (found,) = await asyncio.to_thread(self._detector.search, [picture])
        return found


@pytest.fixture
def detector(tmp_path: Path) -> CenterFaceDetector:
    """The network whose answers are known."""
    path = tmp_path / "centerface.onnx"
    path.write_bytes(tiny_centerface())
    found = load_detector(SETTINGS, model_path=path)
    assert isinstance(found, CenterFaceDetector)
    return found


RemoteTo = Callable[..., RemoteDetector]


@pytest.fixture
def remote_to() -> Iterator[RemoteTo]:
    """Makes the workers' side; a worker's event loop runs in a thread meanwhile."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def remote(handle: Any, *, max_retry_seconds: float = 5.0, settings: DetectSettings = SETTINGS) -> RemoteDetector:
        return RemoteDetector(handle, settings=settings, loop=loop, max_retry_seconds=max_retry_seconds)

    yield remote
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_it_keeps_the_contract_of_detectors(remote_to: RemoteTo) -> None:
    local = real_detector()
    assert isinstance(local, CenterFaceDetector)
    check_detector(remote_to(Handle(local), settings=DetectSettings()))


def test_it_finds_what_a_detector_in_the_worker_finds(detector: CenterFaceDetector, remote_to: RemoteTo) -> None:
    luma = np.kron(frame_with_spots((100, 60), (200, 100)), np.ones((4, 4), np.uint8))
    handle = Handle(detector)
    assert remote_to(handle).detect(luma) == detector.detect(luma)
    ((height, width),) = handle.shapes
    assert height * width <= luma.size / 4, "only the small picture travels"


def test_a_batch_gives_each_picture_its_own(detector: CenterFaceDetector) -> None:
    wide, high = (192, 320), (320, 192)
    pictures = [np.zeros(shape, np.uint8) for shape in (wide, high, wide, wide, high)]
    for index, picture in enumerate(pictures[:4]):
        picture[60:68, 40 + 20 * index : 48 + 20 * index] = 255
    found = detector.search(pictures)
    assert [len(candidates.scores) for candidates in found] == [1, 1, 1, 1, 0]
    for candidates, picture in zip(found, pictures, strict=True):
        (alone,) = detector.search([picture])
        np.testing.assert_allclose(candidates.boxes, alone.boxes, atol=1e-4)


def test_calls_of_a_replica_that_dies_go_to_another(detector: CenterFaceDetector, remote_to: RemoteTo) -> None:
    handle = Handle(detector, ActorDiedError(), ReplicaUnavailableError("no replica"))
    assert len(remote_to(handle).detect(frame_with_spots((100, 60)))) == 1
    assert len(handle.shapes) == 3


def test_a_detector_that_stays_away_lets_its_streams_start_again(
    detector: CenterFaceDetector, remote_to: RemoteTo
) -> None:
    remote = remote_to(Handle(detector, is_gone=True), max_retry_seconds=0.3)
    with pytest.raises(DetectorUnavailableError) as caught:
        remote.detect(frame_with_spots())
    assert caught.value.retryable


def test_a_network_that_goes_on_failing_lets_its_streams_start_again(
    detector: CenterFaceDetector, remote_to: RemoteTo
) -> None:
    failed = RayTaskError("search", "traceback", InferenceError("too hot"))  # type: ignore[no-untyped-call]
    handle = Handle(detector, *3 * [failed])
    with pytest.raises(DetectorUnavailableError, match="too hot"):
        remote_to(handle).detect(frame_with_spots())
    assert len(handle.shapes) == 3
    assert len(remote_to(Handle(detector, failed)).detect(frame_with_spots((100, 60)))) == 1


def test_the_application_binds_it_when_configured() -> None:
    build_app(AppArgs(shared_detector=True, settings={"publish": REDIS}))
    settings = load_settings(publish=REDIS, detect={"kind": "yunet", "path": "face.onnx"})
    with pytest.raises(ConfigError, match="centerface"):
        bind_app(settings, shared_detector=True)
