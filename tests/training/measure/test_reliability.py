"""When the named emotion is wrong: a model whose answers are known, a detector that finds the picture itself."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.detect.align import CROP_SIZE_PIXELS, TEMPLATE_BOX, TEMPLATE_LANDMARKS
from tests.training.made import made_faces
from tests.training.test_evaluate import save_brightness_model
from training.measure.inference import OnnxModel
from training.measure.reliability import measure_reliability, truth_of
from training.tools.template import PICTURE_SIDE_PIXELS, picture_corner


class TemplateDetector:
    """Finds one face: where the template says, in the picture in the middle of the frame."""

    name = "template"

    def detect(self, luma: Luma) -> list[Face]:
        scale, corner = PICTURE_SIDE_PIXELS / CROP_SIZE_PIXELS, np.array(picture_corner())
        x0, y0, x1, y1 = (TEMPLATE_BOX.reshape(2, 2) * scale + corner).ravel().tolist()
        points = tuple((float(x), float(y)) for x, y in TEMPLATE_LANDMARKS * scale + corner)
        return [Face((x0, y0, x1, y1), 0.9, points)]


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return OnnxModel(save_brightness_model(tmp_path / "model.onnx"))


def test_truth_is_the_majority_of_votes_else_the_label(model: OnnxModel) -> None:
    faces = made_faces(14)
    without = dataclasses.replace(faces, votes=None)
    labels = model.manifest.labels
    assert [labels[place] for place in truth_of(without, labels)] == [EMOTIONS[label] for label in without.labels]
    assert truth_of(faces, ("happy", "other")).max() <= 0


def test_shares_are_of_the_faces_of_each_step(model: OnnxModel) -> None:
    faces = dataclasses.replace(made_faces(14), votes=None)
    steps = measure_reliability(model, TemplateDetector(), faces, min_confidence=0.0)
    plain = steps[0]
    assert (plain.what, plain.num) == ("nothing", 14)
    assert plain.right == pytest.approx(1 / 7)
    for step in steps:
        assert 0 <= step.num <= 14
        for share in (step.right, step.flagged, step.named, step.right_named, step.right_withheld):
            assert math.isnan(share) or 0 <= share <= 1
    by_confidence = [step for step in steps if step.what == "confidence"]
    assert sum(step.num for step in by_confidence) == 14


def test_a_mouth_below_the_end_of_the_picture_is_not_named(model: OnnxModel) -> None:
    faces = dataclasses.replace(made_faces(7), votes=None)
    steps = measure_reliability(model, TemplateDetector(), faces, min_confidence=0.0)
    (cut,) = [
        step for step in steps if (step.what, step.strength) == ("picture ends, share of the face's picture", "0.7")
    ]
    assert (cut.flagged, cut.named) == (1, 0)
    assert measure_reliability(model, TemplateDetector(), faces, min_confidence=1.01)[0].named == 0
