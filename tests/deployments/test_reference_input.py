"""A model that cannot compute any more, or answers otherwise, is found out by one input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from emostream.deployments.reference_input import ReferenceAnswer, check_models
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.errors import DetectorUnavailableError, InferenceError
from emostream.pipeline.build import Models
from emostream.testing.fakes import ConstantClassifier, ScriptedDetector
from emostream.vision.classify.batcher import CropBatcher


class AgeingClassifier(ConstantClassifier):
    """Answers otherwise, or not at all, when it is told so."""

    factor = 1.0
    is_broken = False

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if self.is_broken:
            raise InferenceError("CUDA failed")
        return self.factor * super().classify(crops)


def models_of(classifier: ConstantClassifier, detector: ScriptedDetector | None = None) -> Models:
    batcher = CropBatcher(classifier, num_workers=1, max_batch_size=8)
    return Models(detector or ScriptedDetector([[]]), batcher)


@pytest.mark.parametrize("factor", [0.5, float("nan")])
def test_an_engine_that_answers_otherwise_than_at_its_start(factor: float) -> None:
    engine = AgeingClassifier()
    reference = ReferenceAnswer(engine)
    reference.check()
    engine.factor = factor
    with pytest.raises(InferenceError, match="a probability differs"):
        reference.check()
    engine.factor = 1.001
    reference.check()
    engine.is_broken = True
    with pytest.raises(InferenceError, match="CUDA failed"):
        reference.check()


async def test_the_models_of_a_worker() -> None:
    engine = AgeingClassifier()
    models = models_of(engine)
    await check_models(models)
    engine.is_broken = True
    with pytest.raises(InferenceError, match="CUDA failed"):
        await check_models(models)
    models.close()


@pytest.mark.parametrize(
    ("error", "is_told"), [(InferenceError("broken"), True), (DetectorUnavailableError("it is elsewhere"), False)]
)
async def test_a_detector_that_fails(error: Exception, is_told: bool) -> None:
    class Failing(ScriptedDetector):
        def detect(self, luma: Luma) -> list[Face]:
            raise error

    models = models_of(ConstantClassifier(), Failing([[]]))
    if is_told:
        with pytest.raises(InferenceError, match="broken"):
            await check_models(models)
    else:
        await check_models(models)
    models.close()
