"""Scaled logits make probabilities mean what they should, for either reading of the FER+ head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from tests.training.made import VOTE_COLUMN
from training.data.face_set import FaceSet, build_face_set
from training.measure.inference import HeadOutputs
from training.measure.scalings import FerplusTarget, fit_scalings, probabilities_at, scaling_of

NUM = 3000


def face_set(labels: npt.NDArray[np.int64], votes: npt.NDArray[np.float32] | None) -> FaceSet:
    return build_face_set(np.zeros((NUM, 4, 4), np.uint8), labels, source=Path("made"), votes=votes)


def sampled() -> tuple[HeadOutputs, FaceSet]:
    """Logits whose softmax is how ten people vote, and twice whose is the chance of the challenge's label."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=1.5, size=(NUM, 7)).astype(np.float32)
    people = softmax(logits, axis=1).astype(np.float64)
    votes = np.zeros((NUM, 10), np.float32)
    votes[:, [VOTE_COLUMN[label] for label in range(7)]] = random.multinomial(10, people / people.sum(axis=1)[:, None])
    chance = softmax(2 * logits, axis=1)
    labels = (random.random((NUM, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(max=6)
    return HeadOutputs(logits, logits), face_set(labels.astype(np.int64), votes)


@pytest.mark.parametrize("target", ["votes", "majority"])
def test_each_head_says_what_it_was_fitted_to(target: FerplusTarget) -> None:
    logits, faces = sampled()
    fitted = fit_scalings(logits, faces, ferplus_target=target)
    assert fitted.chosen.fer2013.temperature == pytest.approx(0.5, rel=0.1)
    assert fitted.figures["cross_fitted_ece"] < 0.03
    if target == "votes":
        assert fitted.chosen.ferplus.temperature == pytest.approx(1, rel=0.1)
        assert fitted.figures["cross_fitted_ferplus_vote_ece"] < 0.03
    else:
        assert (
            fitted.chosen.ferplus.temperature < 0.7
        )  # most people agree with the winner more surely than each of them does
        assert fitted.figures["cross_fitted_ferplus_ece"] < 0.03
        probabilities = probabilities_at(logits, fitted.chosen)
        np.testing.assert_array_equal(probabilities.ferplus.argmax(axis=1), logits.ferplus.argmax(axis=1))


def test_shares_of_classes_that_training_distorted_are_put_right() -> None:
    logits, faces = sampled()
    distortion = np.array([0.5, 0.0, -0.5, 0.8, 0.0, -0.3, -0.5], np.float32)
    fitted = fit_scalings(HeadOutputs(logits.ferplus + distortion, logits.fer2013), faces, ferplus_target="votes")
    assert fitted.chosen.ferplus.shifts == pytest.approx(-distortion, abs=0.1)
    assert scaling_of(fitted.figures, "ferplus") == fitted.chosen.ferplus
    assert scaling_of(fitted.figures, "fer2013") == fitted.chosen.fer2013
    assert scaling_of({}, "ferplus") is None
    plain = fit_scalings(HeadOutputs(logits.ferplus, logits.fer2013), faces, ferplus_target="votes").figures
    name = "cross_fitted_ferplus_accuracy"
    assert fitted.figures[name] == pytest.approx(plain[name], abs=0.005)


def test_figures_of_both_targets_are_reported() -> None:
    logits, faces = sampled()
    votes = fit_scalings(logits, faces, ferplus_target="votes").figures
    majority = fit_scalings(logits, faces, ferplus_target="majority").figures
    for name in ("votes", "majority"):
        for figure in ("temperature_ferplus", "cross_fitted_ferplus_ece", "cross_fitted_ferplus_vote_ece"):
            assert votes[f"{figure}_{name}"] == majority[f"{figure}_{name}"]
    assert votes["cross_fitted_ferplus_ece"] == votes["cross_fitted_ferplus_ece_votes"]
    assert majority["cross_fitted_ferplus_ece"] == votes["cross_fitted_ferplus_ece_majority"]


def test_without_votes_the_head_that_events_carry_is_fitted_to_the_labels() -> None:
    logits, faces = sampled()
    unvoted = face_set(faces.labels, None)
    other = HeadOutputs(logits.ferplus, 3 * logits.fer2013)
    fitted = fit_scalings(other, unvoted, ferplus_target="votes")
    assert fitted.chosen.ferplus.temperature == pytest.approx(0.5, rel=0.1)
    assert fitted.chosen.ferplus.shifts == ()
    assert fitted.chosen.fer2013.temperature == pytest.approx(1.5, rel=0.1)
    assert not [name for name in fitted.figures if "ferplus_ece" in name or "vote" in name]
    assert scaling_of(fitted.figures, "ferplus") == fitted.chosen.ferplus


def test_one_head_has_one_scaling() -> None:
    logits, faces = sampled()
    fitted = fit_scalings(logits, face_set(faces.labels, None), ferplus_target="votes", has_vote_head=False)
    assert fitted.chosen.ferplus == fitted.chosen.fer2013
    assert fitted.chosen.fer2013.temperature == pytest.approx(0.5, rel=0.1)
    assert set(fitted.figures) == {"temperature", "cross_fitted_ece"}
    assert fitted.figures["cross_fitted_ece"] < 0.03
    for head in ("ferplus", "fer2013"):
        assert scaling_of(fitted.figures, head) == fitted.chosen.fer2013
