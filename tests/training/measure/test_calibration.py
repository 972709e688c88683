"""Which question a probability answers decides whether it is honest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from emostream.domain.model_manifest import ModelManifest
from tests.onnx_models import manifest_for
from training.data.labels import FERPLUS_COLUMNS, majority_labels
from training.measure.calibration import calibrations, ferplus_question, majority_exponent
from training.measure.inference import HeadOutputs

FERPLUS_OF_EMOTION = [4, 5, 6, 1, 3, 2, 0]
TEMPERATURES = {"temperature_fer2013": 1.6, "temperature_ferplus": 0.7}


def voted_pictures(num: int = 8000) -> tuple[HeadOutputs, np.ndarray, np.ndarray]:
    """A model that knows the exact share of people behind every answer; ten of them voted, one gave the label."""
    random = np.random.default_rng(3)
    shares = softmax(random.normal(scale=2.0, size=(num, 7)), axis=1)
    votes = np.zeros((num, len(FERPLUS_COLUMNS)), dtype=np.float32)
    votes[:, FERPLUS_OF_EMOTION] = [random.multinomial(10, row) for row in shares]
    labels = np.array([random.choice(7, p=row) for row in shares])
    return HeadOutputs(shares.astype(np.float32), shares.astype(np.float32)), labels, votes


def manifest_with(metrics: dict[str, float]) -> ModelManifest:
    return manifest_for(b"", metrics=metrics)


def calibrate(**changes: Any) -> dict[str, Any]:
    outputs, labels, votes = voted_pictures()
    arguments = {"labels": labels, "votes": votes, "majority": majority_labels(votes), "manifest": manifest_with({})}
    return calibrations(outputs, **{**arguments, **changes})


def test_honest_shares_are_honest_about_votes_and_labels_and_modest_about_majorities() -> None:
    result = calibrate()
    assert result["fer2013"].after.ece < 0.02
    assert result["ferplus_vote"].after.ece < 0.02
    assert result["ferplus"].after.ece > 0.08
    assert result["ferplus_majority"].after.ece < 0.03
    below = [part for part in result["ferplus"].after.bins if part.num_pictures > 100 and part.high < 0.95]
    assert all(part.truth > part.confidence for part in below)


def test_before_undoes_the_temperature_of_the_manifest() -> None:
    assert all(entry.before is None and entry.temperature is None for entry in calibrate().values())
    result = calibrate(manifest=manifest_with(TEMPERATURES))
    for question, temperature in (("fer2013", 1.6), ("ferplus", 0.7), ("ferplus_vote", 0.7)):
        entry = result[question]
        assert entry.temperature == temperature
        assert entry.before is not None
    # The heads are honest after their temperatures, so before them one was too sure and the other not sure enough.
    assert result["fer2013"].before.ece > result["fer2013"].after.ece + 0.05
    assert result["ferplus_vote"].before.ece > result["ferplus_vote"].after.ece + 0.05
    assert result["ferplus_majority"].before is None


def test_the_manifest_names_the_target_of_the_first_head() -> None:
    votes, majority = 0.9, 0.6
    both = {"temperature_ferplus_votes": votes, "temperature_ferplus_majority": majority}
    assert ferplus_question(manifest_with({})) == "ferplus_vote"
    assert ferplus_question(manifest_with({"temperature_ferplus": votes, **both})) == "ferplus_vote"
    assert ferplus_question(manifest_with({"temperature_ferplus": majority, **both})) == "ferplus"


def test_without_votes_only_the_fer2013_head_can_be_measured() -> None:
    nothing = np.zeros((8000, len(FERPLUS_COLUMNS)), dtype=np.float32)
    assert set(calibrate(votes=nothing, majority=majority_labels(nothing))) == {"fer2013"}


def test_majorities_want_a_power_above_one() -> None:
    outputs, _, votes = voted_pictures()
    exponent = majority_exponent(outputs.ferplus, majority_labels(votes))
    assert 1.3 < exponent < 5
    assert majority_exponent(
        outputs.ferplus**2 / (outputs.ferplus**2).sum(axis=1, keepdims=True), majority_labels(votes)
    ) == (pytest.approx(exponent / 2, rel=0.01))
