"""Metrics against scikit-learn and against cases worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from emostream.domain.emotion import EMOTIONS
from training.measure.metrics import bootstrap_intervals, expected_calibration_error, head_metrics, reliability


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


def test_calibration_error_equals_a_loop_over_bins() -> None:
    probabilities, labels = made_outputs(700)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    diagram = reliability(probabilities, right, num_bins=10)
    confidence = probabilities.max(axis=1)
    expected = 0.0
    for k, part in enumerate(diagram.bins):
        inside = (confidence >= k / 10) & ((confidence < (k + 1) / 10) | (k == 9))
        assert part.num_pictures == inside.sum()
        if inside.any():
            assert part.confidence == pytest.approx(confidence[inside].mean())
            assert part.truth == pytest.approx(right[inside].mean())
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert diagram.ece == pytest.approx(expected)
    assert diagram.ece == expected_calibration_error(probabilities, right, num_bins=10)


def test_intervals_equal_those_of_resampled_pictures() -> None:
    """The multinomial draw against the textbook bootstrap: pictures drawn with replacement, scikit-learn's figures."""
    probabilities, labels = made_outputs(200)
    answers = probabilities.argmax(axis=1)
    random = np.random.default_rng(1)
    figures = []
    for _ in range(400):
        drawn = random.integers(0, len(labels), size=len(labels))
        truth, answer = labels[drawn], answers[drawn]
        figures.append(
            (
                reference.accuracy_score(truth, answer),
                reference.balanced_accuracy_score(truth, answer),
                reference.f1_score(truth, answer, average="macro"),
            )
        )
    expected = np.percentile(figures, [2.5, 97.5], axis=0)
    intervals = bootstrap_intervals(reference.confusion_matrix(labels, answers))
    measured = np.array([intervals.accuracy, intervals.balanced_accuracy, intervals.macro_f1]).T
    # Both are estimates: a quantile of 400 resamples wanders by a tenth of the interval's half width.
    half_width = (expected[1] - expected[0]) / 2
    assert (np.abs(measured - expected) < 0.35 * half_width).all()


def test_intervals_hold_the_figure_and_narrow_with_more_pictures() -> None:
    few = np.array([[60, 10], [20, 10]])
    widths = []
    for confusion in (few, 100 * few):
        intervals = bootstrap_intervals(confusion)
        assert intervals.accuracy[0] < 0.7 < intervals.accuracy[1]
        assert intervals.balanced_accuracy[0] < (6 / 7 + 1 / 3) / 2 < intervals.balanced_accuracy[1]
        widths.append(intervals.macro_f1[1] - intervals.macro_f1[0])
        assert bootstrap_intervals(confusion) == intervals
    assert widths[1] < widths[0] / 5


def test_intervals_of_a_class_that_never_occurs_are_numbers() -> None:
    probabilities, labels = made_outputs(50)
    measured = head_metrics(probabilities, np.minimum(labels, 4), class_names=EMOTIONS)
    low, high = measured.balanced_accuracy_interval
    assert 0 < low <= measured.balanced_accuracy <= high < 1


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError):
        head_metrics(np.zeros((0, 7)), np.zeros(0, dtype=np.int64), class_names=EMOTIONS)
