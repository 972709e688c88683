"""A model that cannot compute any more, or answers otherwise, is found out by one input."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from emostream.config import load_settings
from emostream.deployments.reference_input import ModelWatch, ReferenceAnswer, best_score, reference_picture
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.errors import DetectorUnavailableError, EmostreamError, InferenceError
from emostream.pipeline.build import Models, load_chosen_detector
from emostream.testing.fakes import ConstantClassifier, ScriptedDetector, face_at
from emostream.vision.classify.batcher import CropBatcher
from emostream.vision.detect.detector import FaceDetector


class AgeingClassifier(ConstantClassifier):
    """Answers otherwise, or not at all, when it is told so."""

    factor = 1.0
    is_broken = False
    num_asked = 0

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.num_asked += 1
        if self.is_broken:
            raise InferenceError("CUDA failed")
        return self.factor * super().classify(crops)


def models_of(
    classifier: ConstantClassifier, detector: FaceDetector | None = None, *, workers: Executor | None = None
) -> Models:
    batcher = CropBatcher(classifier, num_workers=1, max_batch_size=8)
    return Models(detector or ScriptedDetector([[]]), batcher, workers or ThreadPoolExecutor(2))


@pytest.mark.parametrize("factor", [0.5, float("nan")])
def test_an_engine_that_answers_otherwise_than_at_its_start(factor: float) -> None:
    engine = AgeingClassifier()
    reference = ReferenceAnswer.of_classifier(engine)
    reference.check()
    engine.factor = factor
    with pytest.raises(InferenceError):
        reference.check()
    engine.factor = 1.001
    reference.check()
    engine.is_broken = True
    with pytest.raises(InferenceError, match="CUDA failed"):
        reference.check()


class AgeingDetector:
    """Finds one face, until it is blind."""

    name = "ageing"
    score = 0.9

    def detect(self, luma: Luma) -> list[Face]:
        return [replace(face_at(10, 4), score=self.score)] if self.score else []


@pytest.mark.parametrize("score", [0.0, 0.4, float("nan")])
def test_a_detector_that_grows_blind(score: float) -> None:
    detector = AgeingDetector()
    reference = ReferenceAnswer.of_detector(detector)
    reference.check()
    detector.score = score
    with pytest.raises(InferenceError):
        reference.check()


def test_the_shipped_detector_finds_faces_in_the_reference_picture() -> None:
    detector = load_chosen_detector(load_settings())
    assert best_score(detector.detect(reference_picture()))[0] > 0.5
    ReferenceAnswer.of_detector(detector).check()


async def until_it_says(watch: ModelWatch, error: type[Exception] | None, text: str = "") -> None:
    """Check until the watch says this, and no longer what it said before."""
    async with asyncio.timeout(20):
        while True:
            try:
                watch.check(is_suspect=True)
            except EmostreamError as exc:
                if error is not None and isinstance(exc, error) and text in str(exc):
                    return
            else:
                if error is None:
                    return
            await asyncio.sleep(0.01)


async def test_the_models_of_a_worker() -> None:
    engine, detector = AgeingClassifier(), AgeingDetector()
    models = models_of(engine, detector)
    watch = ModelWatch(models)
    while engine.num_asked < 2:  # its first results are what later ones are compared with
        await until_it_says(watch, None)
        await asyncio.sleep(0.01)
    engine.is_broken = True
    await until_it_says(watch, InferenceError, "CUDA failed")
    engine.is_broken, engine.factor = False, 0.5
    await until_it_says(watch, InferenceError, "classifier")
    engine.factor, detector.score = 1.0, 0.0
    await until_it_says(watch, InferenceError, "detector")
    detector.score = 0.9
    await until_it_says(watch, None)
    models.close()


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (InferenceError("broken"), True),
        (RuntimeError("a plugin is broken"), True),
        (DetectorUnavailableError("it is elsewhere"), False),
    ],
    ids=["engine", "plugin", "shared"],
)
async def test_a_detector_that_fails(error: Exception, is_told: bool) -> None:
    class Failing(ScriptedDetector):
        def detect(self, luma: Luma) -> list[Face]:
            raise error

    models = models_of(ConstantClassifier(), Failing([[]]))
    watch = ModelWatch(models)
    if is_told:
        await until_it_says(watch, InferenceError)
    else:
        for _ in range(10):
            watch.check(is_suspect=True)
            await asyncio.sleep(0.02)
    models.close()


@pytest.mark.parametrize("hangs", ["detector", "classifier", "threads"])
async def test_a_model_that_never_returns(hangs: str) -> None:
    let_go, now = threading.Event(), 0.0

    class Hanging(ScriptedDetector):
        def detect(self, luma: Luma) -> list[Face]:
            let_go.wait()
            return []

    class HangingClassifier(ConstantClassifier):
        def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            let_go.wait()
            return super().classify(crops)

    workers = ThreadPoolExecutor(1)
    if hangs == "threads":  # the work of streams
        workers.submit(let_go.wait)
    models = models_of(
        HangingClassifier() if hangs == "classifier" else ConstantClassifier(),
        Hanging([[]]) if hangs == "detector" else None,
        workers=workers,
    )
    watch = ModelWatch(models, limit_seconds=60, clock=lambda: now)
    for now in (0.0, 30.0, 59.0):  # noqa: B007  # the clock reads it
        watch.check()
        await asyncio.sleep(0.05)
    now = 61.0
    with pytest.raises(InferenceError):
        watch.check()
    let_go.set()
    await until_it_says(watch, None)
    watch.close()
    models.close()


async def test_a_check_is_due_from_time_to_time() -> None:
    now = 0.0

    class Counting(ScriptedDetector):
        num_asked = 0

        def detect(self, luma: Luma) -> list[Face]:
            self.num_asked += 1
            return []

    detector = Counting([[]])
    models = models_of(ConstantClassifier(), detector)
    watch = ModelWatch(models, interval_seconds=10, clock=lambda: now)
    for now in (0.0, 5.0, 9.0, 11.0, 15.0, 20.0, 22.0):
        watch.check()
        num_expected = 1 + (now >= 11) + (now >= 22)
        async with asyncio.timeout(20):
            while detector.num_asked < num_expected:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert detector.num_asked == num_expected
    models.close()
