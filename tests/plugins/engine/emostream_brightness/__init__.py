"""An engine that judges by brightness, and a detector that sees a face in the middle of bright pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emostream.config import ClassifySettings, DetectSettings
from emostream.domain.emotion import EMOTIONS
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.model_manifest import ModelManifest
from emostream.errors import InferenceError
from emostream.vision.classify.engines import EngineContext


class BrightnessEngine:
    """Bright crops are happy, dark ones sad."""

    wanted_batch_size = 1

    def __init__(self) -> None:
        self.manifest = ModelManifest(
            name="brightness",
            version="1",
            file="none",
            sha256="0" * 64,
            labels=EMOTIONS,
            input_size_pixels=64,
            max_batch_size=32,
            architecture="mean of the crop",
            training_data="none",
            licence="Apache-2.0",
        )
        self._is_open = True

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Two of the probabilities move with the brightness of the crop."""
        if not self._is_open or crops.dtype != np.uint8 or crops.shape[1:] != (64, 64):
            raise InferenceError(f"expected an open engine and crops uint8 n×64×64, got {crops.dtype} {crops.shape}")
        bright = crops.mean(axis=(1, 2)) / 255 if len(crops) else np.zeros(0)
        probabilities = np.full((len(crops), len(EMOTIONS)), 0.02, np.float32)
        probabilities[:, EMOTIONS.index("happy")] = 0.9 * bright
        probabilities[:, EMOTIONS.index("sad")] = 0.9 * (1 - bright)
        return probabilities

    def close(self) -> None:
        """Nothing is held."""
        self._is_open = False


def open_engine(settings: ClassifySettings, context: EngineContext) -> BrightnessEngine:
    """The entry point of `classify.engine: brightness`."""
    return BrightnessEngine()


class MiddleDetector:
    """One face in the middle of every picture that is bright somewhere."""

    name = "middle"

    def detect(self, luma: Luma) -> list[Face]:
        """The middle half of the picture."""
        if luma.size == 0 or int(luma.max()) < 120:
            return []
        height, width = luma.shape
        x, y, side = width / 4, height / 4, min(width, height) / 2
        places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
        landmarks = tuple((x + side * across, y + side * down) for across, down in places)
        return [Face((x, y, x + side, y + side), score=0.9, landmarks=landmarks)]


def open_detector(settings: DetectSettings) -> MiddleDetector:
    """The entry point of `detect.kind: middle`."""
    return MiddleDetector()
