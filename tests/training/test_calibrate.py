"""Temperature scaling finds the temperature that outputs were made with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from training.calibrate import cross_fitted_probabilities, fit_confidence, fit_temperature, undo_temperature
from training.metrics import expected_calibration_error


def overconfident(num: int = 6000, *, temperature: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the labels drawn from them, labels, and one-hot labels."""
    random = np.random.default_rng(1)
    honest = random.normal(scale=1.5, size=(num, 7))
    labels = np.array([random.choice(7, p=row) for row in softmax(honest, axis=1)])
    return honest * temperature, labels, np.eye(7)[labels]


def test_finds_the_temperature() -> None:
    logits, _, targets = overconfident()
    assert fit_temperature(logits, targets) == pytest.approx(2.0, rel=0.06)


def test_soft_targets_give_it_exactly() -> None:
    logits, _, _ = overconfident(500)
    assert fit_temperature(logits, softmax(logits / 1.7, axis=1)) == pytest.approx(1.7, abs=1e-3)


def test_without_targets_nothing_changes() -> None:
    assert fit_temperature(np.zeros((0, 7)), np.zeros((0, 7))) == 1.0
    assert fit_temperature(np.ones((3, 7)), np.zeros((3, 7))) == 1.0


def test_cross_fitting_calibrates_and_keeps_the_answers() -> None:
    logits, labels, targets = overconfident()
    right = (logits.argmax(axis=1) == labels).astype(float)
    fitted = cross_fitted_probabilities(logits, targets)
    assert (fitted.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert expected_calibration_error(softmax(logits, axis=1), right) > 0.1
    assert expected_calibration_error(fitted, right) < 0.03


@given(temperature=st.floats(0.3, 4.0), seed=st.integers(0, 1000))
def test_a_temperature_can_be_undone_on_the_probabilities(temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(scale=3, size=(20, 7))
    served = softmax(logits / temperature, axis=1).astype(np.float32)
    assert undo_temperature(served, temperature) == pytest.approx(softmax(logits, axis=1), abs=1e-4)


def test_undoing_keeps_probabilities_of_zero() -> None:
    assert undo_temperature(np.array([[1.0, 0.0], [0.5, 0.5]]), 2.0) == pytest.approx(np.array([[1, 0], [0.5, 0.5]]))


def test_confidence_is_fitted_to_how_often_the_top_answer_is_right() -> None:
    logits, labels, targets = overconfident()
    right = (logits.argmax(axis=1) == labels).astype(float)
    fitted = cross_fitted_probabilities(logits, targets, fit=fit_confidence)
    assert expected_calibration_error(fitted, right) < 0.03
    assert fit_confidence(logits[:0], targets[:0]) == 1
    assert fit_confidence(2 * logits, targets) == pytest.approx(2 * fit_confidence(logits, targets), rel=1e-3)
