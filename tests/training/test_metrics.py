"""Metrics against scikit-learn and against cases worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from emostream.emotion import EMOTIONS
from training.metrics import bootstrap_interval, expected_calibration_error, head_metrics


def made_outputs(num: int = 500) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    labels = random.integers(0, 7, size=num)
    logits = random.normal(size=(num, 7)) + 2 * np.eye(7)[labels]
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels


def test_equals_scikit_learn() -> None:
    probabilities, labels = made_outputs()
    answers = probabilities.argmax(axis=1)
    measured = head_metrics(probabilities, labels, class_names=EMOTIONS)
    assert measured.accuracy == pytest.approx(reference.accuracy_score(labels, answers))
    assert measured.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, answers))
    assert measured.macro_f1 == pytest.approx(reference.f1_score(labels, answers, average="macro"))
    assert measured.macro_precision == pytest.approx(reference.precision_score(labels, answers, average="macro"))
    assert measured.log_loss == pytest.approx(reference.log_loss(labels, probabilities))
    assert np.array(measured.confusion_matrix).tolist() == reference.confusion_matrix(labels, answers).tolist()
    recalls = reference.recall_score(labels, answers, average=None)
    assert [measured.per_class[name].recall for name in EMOTIONS] == pytest.approx(recalls.tolist())
    assert sum(figures.support for figures in measured.per_class.values()) == len(labels)


def test_a_class_that_never_occurs_is_no_warning() -> None:
    probabilities, labels = made_outputs(50)
    labels = np.minimum(labels, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = head_metrics(probabilities, labels, class_names=EMOTIONS)
    assert measured.per_class["neutral"].support == 0
    assert measured.balanced_accuracy > measured.macro_recall


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.6 sure and half right, 0.9 sure and all right.
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]])
    truth = np.array([1.0, 0.0, 1.0, 1.0])
    assert expected_calibration_error(probabilities, truth) == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)


def test_certain_and_right_is_perfectly_calibrated() -> None:
    assert expected_calibration_error(np.eye(7), np.ones(7)) == 0


def test_interval_holds_the_share_and_narrows_with_more_pictures() -> None:
    few, many = (np.arange(num) % 10 < 7 for num in (100, 10_000))
    for right in (few, many):
        low, high = bootstrap_interval(right)
        assert low < 0.7 < high
    assert bootstrap_interval(many)[1] - bootstrap_interval(many)[0] < 0.02
    assert bootstrap_interval(few) == bootstrap_interval(few)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="for n labels"):
        head_metrics(np.zeros((0, 7)), np.zeros(0, dtype=np.int64), class_names=EMOTIONS)
