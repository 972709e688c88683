"""A stream's own thresholds and smoothing, changed while it runs, with the state of its tracks kept."""

from __future__ import annotations

import numpy as np
import pytest

from emostream.config import load_settings
from emostream.domain.tuning import Tuning
from emostream.service.worker.tuning import TunedStages
from emostream.testing.fakes import ScriptedDetector, face_at

LUMA = np.zeros((48, 64), np.uint8)
FACES = [face_at(0, 0, size=40, score=0.9), face_at(0, 0, size=20, score=0.8), face_at(0, 0, size=40, score=0.4)]


def tuned(**tuning: float) -> TunedStages:
    return TunedStages(load_settings(), detector=ScriptedDetector([FACES]), tuning=Tuning(**tuning))


@pytest.mark.parametrize(
    ("tuning", "kept"),
    [({}, 3), ({"min_score": 0.5}, 2), ({"min_face_pixels": 30}, 2), ({"min_score": 0.5, "min_face_pixels": 30}, 1)],
)
def test_faces_below_the_thresholds_do_not_count(tuning: dict[str, float], kept: int) -> None:
    assert len(tuned(**tuning).stages.detect(LUMA)) == kept


def test_what_is_left_open_is_as_the_settings_say() -> None:
    classify = load_settings().classify
    stages = tuned().stages
    assert stages.smoother.time_constant_seconds == classify.smoothing_seconds
    assert (stages.hysteresis.hold_seconds, stages.hysteresis.margin) == (classify.hold_seconds, classify.switch_margin)


def test_a_change_keeps_the_tracks_and_can_be_taken_back() -> None:
    stream = tuned()
    stages = stream.stages
    before = stages.smoother.smooth(1, np.array([1.0, 0.0]), pts_seconds=0.0)
    stream.tune(Tuning(smoothing_seconds=0.0, hold_seconds=1.0, switch_margin=0.5, min_score=0.95))
    assert len(stages.smoother) == 1
    assert stages.smoother.smooth(1, np.array([0.0, 1.0]), pts_seconds=0.1).tolist() == [0.0, 1.0] != before.tolist()
    assert (stages.hysteresis.hold_seconds, stages.hysteresis.margin) == (1.0, 0.5)
    assert stages.detect(LUMA) == []
    stream.tune(Tuning())
    assert stages.smoother.time_constant_seconds == load_settings().classify.smoothing_seconds
    assert len(stages.detect(LUMA)) == 3
