"""Pure: what one head got right, by scikit-learn, and how honest its probabilities are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

NUM_CALIBRATION_BINS = 15
_NUM_BOOTSTRAP_SAMPLES = 1000


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
        accuracy_interval: its 95 % bootstrap interval over pictures.
        balanced_accuracy: mean recall of the classes that occur.
        macro_precision, macro_recall, macro_f1: means over all classes.
        ece: expected calibration error over 15 bins of equal width.
        log_loss: mean negative log probability of the label, in nats.
        per_class: class → its figures.
        confusion_matrix: row = label, column = answer, in the order of `per_class`.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    ece: float
    log_loss: float
    per_class: dict[str, ClassMetrics]
    confusion_matrix: tuple[tuple[int, ...], ...]

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
    # Classes that never occur have no recall; scikit-learn would warn when one of them is answered.
    recalls = recall[support > 0]
    return HeadMetrics(
        accuracy=float(right.mean()),
        accuracy_interval=bootstrap_interval(right),
        balanced_accuracy=float(recalls.mean()),
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        macro_f1=float(f1.mean()),
        ece=expected_calibration_error(probabilities, right.astype(np.float64)),
        log_loss=float(-np.log(picked).mean()),
        per_class={
            name: ClassMetrics(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, name in enumerate(class_names)
        },
        confusion_matrix=tuple(
            tuple(int(count) for count in row) for row in confusion_matrix(labels, answers, labels=classes)
        ),
    )


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating],
    truth: npt.NDArray[np.floating],
    *,
    num_bins: int = NUM_CALIBRATION_BINS,
) -> float:
    """Mean distance between the top probability and how true the top answer was, over bins of equal width.

    Args:
        probabilities: n×c.
        truth: n, in 0…1: 1 or 0 for a right or wrong answer, or the share of people who gave the same answer.
        num_bins: bins of the top probability between 0 and 1.
    """
    confidence = probabilities.max(axis=1)
    place = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(place, minlength=num_bins)
    gaps = np.bincount(place, weights=confidence - truth, minlength=num_bins)
    return float(np.abs(gaps).sum() / counts.sum())


def bootstrap_interval(right: npt.NDArray[np.bool_], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the share of True, over resampled pictures.

    A resample of n pictures holds a binomial number of right ones, so no index needs to be drawn.
    """
    num = len(right)
    shares = np.random.default_rng(seed).binomial(num, right.mean(), size=_NUM_BOOTSTRAP_SAMPLES) / num
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)
