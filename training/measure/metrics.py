"""What one head got right, by scikit-learn, and how honest its probabilities are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

NUM_CALIBRATION_BINS = 15
_NUM_BOOTSTRAP_SAMPLES = 2000

Interval = tuple[float, float]
"""(low, high) of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class: shares in 0…1, and `support`, the number of pictures that have this label."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class HeadMetrics:
    """One head against one kind of label.

    Attributes:
        accuracy: share of pictures whose most probable class is the label.
        balanced_accuracy: mean recall of the classes that occur.
        macro_precision, macro_recall, macro_f1: means over all classes.
        accuracy_interval, balanced_accuracy_interval, macro_f1_interval: 95 % bootstrap intervals over pictures.
        ece: expected calibration error over 15 bins of equal width.
        log_loss: mean negative log probability of the label, in nats.
        per_class: class → its figures.
        confusion_matrix: row = label, column = answer, in the order of `per_class`.
    """

    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    macro_precision: float
    macro_recall: float
    macro_f1: float
    macro_f1_interval: Interval
    ece: float
    log_loss: float
    per_class: dict[str, ClassMetrics]
    confusion_matrix: tuple[tuple[int, ...], ...]

    @property
    def num_pictures(self) -> int:
        """How many pictures were measured."""
        return sum(figures.support for figures in self.per_class.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def head_metrics(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], *, class_names: tuple[str, ...]
) -> HeadMetrics:
    """Measure probabilities n×c against labels n (class indices); n must be positive."""
    if len(labels) == 0 or probabilities.shape != (len(labels), len(class_names)):
        raise ValueError(f"expected probabilities n×{len(class_names)} for n labels, got {probabilities.shape}")
    classes = list(range(len(class_names)))
    answers = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(labels, answers, labels=classes, zero_division=0.0)
    right = answers == labels
    picked = np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1.0)
    confusion = confusion_matrix(labels, answers, labels=classes)
    intervals = bootstrap_intervals(confusion)
    return HeadMetrics(
        accuracy=float(right.mean()),
        accuracy_interval=intervals.accuracy,
        # Classes that never occur have no recall; scikit-learn would warn when one of them is answered.
        balanced_accuracy=float(recall[support > 0].mean()),
        balanced_accuracy_interval=intervals.balanced_accuracy,
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        macro_f1=float(f1.mean()),
        macro_f1_interval=intervals.macro_f1,
        ece=expected_calibration_error(probabilities, right.astype(np.float64)),
        log_loss=float(-np.log(picked).mean()),
        per_class={
            name: ClassMetrics(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, name in enumerate(class_names)
        },
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in confusion),
    )


@dataclass(frozen=True, slots=True)
class BootstrapIntervals:
    """The 95 % intervals that follow from one confusion matrix."""

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval


def bootstrap_intervals(
    confusion: npt.NDArray[np.integer], *, num_samples: int = _NUM_BOOTSTRAP_SAMPLES, seed: int = 0
) -> BootstrapIntervals:
    """Percentile intervals over resampled pictures (Efron 1979), from counts c×c (row = label, column = answer).

    These figures depend on the counts alone, and the counts of a resample of n pictures are one multinomial draw of n
    over the cells: no index needs to be drawn.
    """
    num = int(confusion.sum())
    draws = np.random.default_rng(seed).multinomial(num, confusion.ravel() / num, size=num_samples)
    counts = draws.reshape(num_samples, *confusion.shape).astype(np.float64)
    right = np.diagonal(counts, axis1=1, axis2=2)
    labelled, answered = counts.sum(axis=2), counts.sum(axis=1)
    recall = np.divide(right, labelled, out=np.zeros_like(right), where=labelled > 0)
    f1 = np.divide(2 * right, labelled + answered, out=np.zeros_like(right), where=labelled + answered > 0)
    return BootstrapIntervals(
        accuracy=_interval(right.sum(axis=1) / num),
        balanced_accuracy=_interval(recall.sum(axis=1) / (labelled > 0).sum(axis=1)),
        macro_f1=_interval(f1.mean(axis=1)),
    )


def _interval(samples: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The pictures whose top probability lies in low…high.

    Attributes:
        low, high: bounds of the bin.
        num_pictures: how many there are.
        confidence: their mean top probability; 0 when there are none.
        truth: how true their top answer was on average; 0 when there are none.
    """

    low: float
    high: float
    num_pictures: int
    confidence: float
    truth: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far top probabilities can be taken at their word: a reliability diagram and its one-number summary.

    Attributes:
        ece: expected calibration error: mean distance of confidence and truth of a bin, weighted by its pictures.
        bins: of equal width, from 0 to 1.
    """

    ece: float
    bins: tuple[ReliabilityBin, ...]


def reliability(
    probabilities: npt.NDArray[np.floating],
    truth: npt.NDArray[np.floating],
    *,
    num_bins: int = NUM_CALIBRATION_BINS,
) -> Reliability:
    """Compare top probabilities with how true the top answers were (Naeini 2015, Guo 2017).

    Args:
        probabilities: n×c, n positive.
        truth: n, in 0…1: 1 or 0 for a right or wrong answer, or the share of people who gave the same answer.
        num_bins: bins of the top probability between 0 and 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(place, minlength=num_bins)
    confidences = np.bincount(place, weights=confidence, minlength=num_bins) / np.maximum(counts, 1)
    truths = np.bincount(place, weights=truth, minlength=num_bins) / np.maximum(counts, 1)
    bins = tuple(
        ReliabilityBin(i / num_bins, (i + 1) / num_bins, int(counts[i]), float(confidences[i]), float(truths[i]))
        for i in range(num_bins)
    )
    return Reliability(float((counts * np.abs(confidences - truths)).sum() / counts.sum()), bins)


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating],
    truth: npt.NDArray[np.floating],
    *,
    num_bins: int = NUM_CALIBRATION_BINS,
) -> float:
    """The `ece` of `reliability`."""
    return reliability(probabilities, truth, num_bins=num_bins).ece
