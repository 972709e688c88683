"""Applies the per-stream settings that can be changed while a stream runs."""

from __future__ import annotations

from dataclasses import dataclass

from emostream.config import Settings
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.domain.tuning import Tuning
from emostream.pipeline.build import Stages, build_stages
from emostream.vision.detect.detector import FaceDetector


@dataclass(frozen=True, slots=True)
class _FaceFilter:
    min_score: float
    min_face_pixels: float

    def keeps(self, face: Face) -> bool:
        return face.score >= self.min_score and face.height >= self.min_face_pixels


class TunedStages:
    """The stages of one stream with its `Tuning`; values that it leaves open are those of the settings.

    Args:
        settings: all settings.
        detector: shared between streams.
        tuning: the initial tuning.
    """

    def __init__(self, settings: Settings, *, detector: FaceDetector, tuning: Tuning) -> None:
        self._settings = settings
        self._detector = detector
        self._stages = build_stages(settings, detect=self._detect)
        self.tune(tuning)

    @property
    def stages(self) -> Stages:
        """The stages for the pipeline; always the same objects."""
        return self._stages

    def tune(self, tuning: Tuning) -> None:
        """Apply a tuning from the next frame on. Each value is set atomically, so any thread may call it."""
        classify, stages = self._settings.classify, self._stages
        stages.smoother.time_constant_seconds = _first(tuning.smoothing_seconds, classify.smoothing_seconds)
        stages.hysteresis.hold_seconds = _first(tuning.hold_seconds, classify.hold_seconds)
        stages.hysteresis.margin = _first(tuning.switch_margin, classify.switch_margin)
        self._filter = _FaceFilter(_first(tuning.min_score, 0.0), _first(tuning.min_face_pixels, 0.0))

    def _detect(self, luma: Luma) -> list[Face]:
        faces = self._detector.detect(luma)
        return [face for face in faces if self._filter.keeps(face)]


def _first(wanted: float | None, otherwise: float) -> float:
    return otherwise if wanted is None else wanted
