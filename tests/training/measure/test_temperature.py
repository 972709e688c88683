"""Scaling finds the temperature and the shifts that outputs were made with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from training.measure.metrics import expected_calibration_error
from training.measure.temperature import (
    Scaling,
    cross_fitted_probabilities,
    fit_confidence,
    fit_distribution,
    fit_temperature,
)


def overconfident(num: int = 6000, *, temperature: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the labels drawn from them, labels, and one-hot labels."""
    random = np.random.default_rng(1)
    honest = random.normal(scale=1.5, size=(num, 7))
    labels = np.array([random.choice(7, p=row) for row in softmax(honest, axis=1)])
    return honest * temperature, labels, np.eye(7)[labels]


def test_finds_the_temperature() -> None:
    logits, _, targets = overconfident()
    assert fit_temperature(logits, targets).temperature == pytest.approx(2.0, rel=0.06)


def test_soft_targets_give_it_exactly() -> None:
    logits, _, _ = overconfident(500)
    assert fit_temperature(logits, softmax(logits / 1.7, axis=1)).temperature == pytest.approx(1.7, abs=1e-3)


@given(
    temperature=st.floats(0.3, 4.0),
    shifts=st.lists(st.floats(-1, 1), min_size=7, max_size=7).map(lambda values: np.array(values) - np.mean(values)),
    seed=st.integers(0, 1000),
)
def test_a_distribution_gives_temperature_and_shifts(temperature: float, shifts: np.ndarray, seed: int) -> None:
    logits = temperature * np.random.default_rng(seed).normal(scale=1.5, size=(200, 7))
    fitted = fit_distribution(logits, softmax(logits / temperature + shifts, axis=1))
    assert fitted.temperature == pytest.approx(temperature, rel=0.02)
    assert fitted.shifts == pytest.approx(shifts, abs=0.02)


def test_without_targets_nothing_changes() -> None:
    for fit in (fit_temperature, fit_distribution):
        assert fit(np.zeros((0, 7)), np.zeros((0, 7))) == Scaling()
        assert fit(np.ones((3, 7)), np.zeros((3, 7))) == Scaling()


def test_the_shift_of_a_class_without_votes_is_bounded() -> None:
    logits, _, _ = overconfident(500)
    nobody = softmax(logits, axis=1) * (np.arange(7) != 3)
    shifts = fit_distribution(logits, nobody / nobody.sum(axis=1, keepdims=True)).shifts
    assert max(shifts) - min(shifts) <= 4 + 1e-6


def test_cross_fitting_calibrates_and_keeps_the_answers() -> None:
    logits, labels, targets = overconfident()
    right = (logits.argmax(axis=1) == labels).astype(float)
    fitted = cross_fitted_probabilities(logits, targets)
    assert (fitted.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert expected_calibration_error(softmax(logits, axis=1), right) > 0.1
    assert expected_calibration_error(fitted, right) < 0.03


@given(temperature=st.floats(0.3, 4.0), seed=st.integers(0, 1000))
def test_a_scaling_can_be_undone_on_the_probabilities(temperature: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(scale=3, size=(20, 7))
    for scaling in (Scaling(temperature), Scaling(temperature, tuple(random.normal(size=7).tolist()))):
        served = softmax(scaling.apply(logits), axis=1).astype(np.float32)
        assert scaling.undo(served) == pytest.approx(softmax(logits, axis=1), abs=1e-4)


def test_undoing_keeps_probabilities_of_zero() -> None:
    assert Scaling(2.0).undo(np.array([[1.0, 0.0], [0.5, 0.5]])) == pytest.approx(np.array([[1, 0], [0.5, 0.5]]))


def test_confidence_is_fitted_to_how_often_the_top_answer_is_right() -> None:
    logits, labels, targets = overconfident()
    right = (logits.argmax(axis=1) == labels).astype(float)
    fitted = cross_fitted_probabilities(logits, targets, fit=fit_confidence)
    assert expected_calibration_error(fitted, right) < 0.03
    assert fit_confidence(logits[:0], targets[:0]) == Scaling()
    once, twice = (fit_confidence(factor * logits, targets).temperature for factor in (1, 2))
    assert twice == pytest.approx(2 * once, rel=1e-3)
