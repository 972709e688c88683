"""An explanation of a classifier with known reasons names the part of the face it looks at."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emostream.domain.emotion import EmotionScores
from emostream.errors import ConfigError
from emostream.testing.fakes import face_at
from emostream.vision.detect.align import TEMPLATE_LANDMARKS
from emostream.vision.explain.explainer import explain_face
from emostream.vision.explain.explanation import Explanation
from emostream.vision.explain.rise import random_masks
from tests.vision.explain.patch_classifier import LABELS, SIDE, classify_patch, crop_with_bright_patch

MASKS = random_masks(SIDE)


def explain(emotion: str | None = None) -> Explanation:
    return explain_face(
        classify_patch,
        labels=LABELS,
        face=face_at(10, 20),
        crop=crop_with_bright_patch(),
        landmarks_in_crop=TEMPLATE_LANDMARKS,
        masks=MASKS,
        emotion=emotion,
    )


def test_names_the_part_and_what_it_is_worth() -> None:
    explanation = explain()
    assert explanation.emotion == "bright"
    assert explanation.probability == pytest.approx(230 / 255, abs=0.01)
    assert explanation.check.is_passed
    first = explanation.regions[0]
    assert first.name == "mouth"
    assert first.density > 4
    assert sum(region.evidence for region in explanation.regions) == pytest.approx(1, abs=1e-4)
    assert sum(region.area for region in explanation.regions) == pytest.approx(1, abs=1e-6)
    weakest = min(explanation.regions, key=lambda region: region.probability_hidden)
    assert weakest.name == "mouth"
    assert weakest.probability_hidden < explanation.probability


def test_another_emotion_can_be_explained() -> None:
    explanation = explain("dark")
    assert (explanation.emotion, explanation.scores.dominant) == ("dark", "bright")
    assert explanation.probability < 0.2


def test_an_emotion_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="dark, bright"):
        explain("happy")


def test_as_json() -> None:
    content = json.loads(json.dumps(explain().as_dict()))
    assert content["dominant"] == content["explained"] == "bright"
    assert content["check"]["passed"] is True
    assert content["regions"][0].keys() == {"name", "area", "evidence", "probability_hidden", "answer_hidden"}
    assert content["box_xyxy"] == [10, 20, 50, 60]


def test_map_and_crop_must_fit() -> None:
    explanation = explain()
    scores = EmotionScores(("a", "b"), (0.5, 0.5))
    with pytest.raises(ValueError):
        Explanation(
            explanation.face, explanation.crop, scores, "a", np.zeros((2, 2), np.float32), (), explanation.check
        )
    with pytest.raises(ValueError):
        Explanation(explanation.face, explanation.crop, scores, "c", explanation.saliency, (), explanation.check)
