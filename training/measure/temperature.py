"""Logits made honest by a temperature and, where a whole distribution is known, by a shift for each class.

Both are fitted on pictures that were not trained on. Dividing all logits by one temperature never changes an answer,
only how sure it is (Guo et al. 2017). Adding a shift to each class as well (Alexandari et al. 2020: bias-corrected
temperature scaling) takes back what augmentation, mixing and teachers did to the shares of the classes, and can change
answers. The challenge head has a temperature, fitted to the challenge's labels; the FER+ head both, fitted to the
distribution of the votes, since its probabilities mean "what people would say". A softmax forgets nothing but a common
shift of its logits, so all this can be undone, or done otherwise, on the probabilities themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

# Beyond these a head is broken, not badly calibrated.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.2, 5.0
_MAX_SHIFT = 2.0

# Below any probability that float32 can hold.
_SMALLEST = 1e-45


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is done to the logits of a head before its softmax: logits / temperature + shifts.

    Attributes:
        temperature: positive.
        shifts: one per class, their mean 0; empty for none.
    """

    temperature: float = 1.0
    shifts: tuple[float, ...] = ()

    def apply(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Logits n×c → scaled logits n×c."""
        return np.asarray(logits / self.temperature + np.array(self.shifts or 0.0), dtype=np.float64)

    def undo(self, probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """softmax of scaled logits, n×c → softmax of the logits as they were."""
        scaled = logits_from_probabilities(probabilities) - np.array(self.shifts or 0.0)
        return np.asarray(softmax(self.temperature * scaled, axis=1))


Fit = Callable[[npt.NDArray[np.floating], npt.NDArray[np.floating]], Scaling]
"""(logits n×c, target distributions n×c) → scaling."""


def fit_distribution(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> Scaling:
    """The temperature and the shifts with the least cross entropy to the target distributions.

    Args:
        logits: n×c.
        targets: n×c, rows that sum to 1 (or to 0, which leaves a picture out).
    """
    num_classes = logits.shape[1]
    if not len(logits) or targets.sum() == 0:
        return Scaling()
    rows, goal = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)

    def cross_entropy(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        temperature, shifts = np.exp(values[0]), values[1:]
        log_probabilities = log_softmax(rows / temperature + shifts, axis=1)
        # Of the softmax's cross entropy by its input: what is said, less what is true, for as many people as there are.
        surplus = np.exp(log_probabilities) * goal.sum(axis=1, keepdims=True) - goal
        by_temperature = -(surplus * rows).sum() / temperature
        return float(-(goal * log_probabilities).sum()), np.array([by_temperature, *surplus.sum(axis=0)])

    bounds = [(np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE)), *[(-_MAX_SHIFT, _MAX_SHIFT)] * num_classes]
    found = minimize(cross_entropy, np.zeros(1 + num_classes), jac=True, method="L-BFGS-B", bounds=bounds)
    shifts = found.x[1:] - found.x[1:].mean()
    return Scaling(float(np.exp(found.x[0])), tuple(shifts.tolist()))


def fit_temperature(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> Scaling:
    """The temperature with the least cross entropy of softmax(logits / t) to the target distributions.

    Args:
        logits: n×c.
        targets: n×c, rows that sum to 1 (or to 0, which leaves a picture out).
    """
    if not len(logits) or targets.sum() == 0:
        return Scaling()
    rows, goal = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)

    def cross_entropy(log_temperature: float) -> float:
        return float(-(goal * log_softmax(rows / np.exp(log_temperature), axis=1)).sum())

    return _least(cross_entropy)


def fit_confidence(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> Scaling:
    """The temperature at which the top probability best predicts whether the top answer is right (least log loss).

    Args:
        logits: n×c.
        targets: n×c, 1 for the right answer of each row.
    """
    if not len(logits):
        return Scaling()
    rows = np.asarray(logits, dtype=np.float64)
    right = targets[np.arange(len(rows)), rows.argmax(axis=1)].astype(np.float64)

    def log_loss(log_temperature: float) -> float:
        confidence = softmax(rows / np.exp(log_temperature), axis=1).max(axis=1).clip(1e-12, 1 - 1e-12)
        return float(-(right * np.log(confidence) + (1 - right) * np.log1p(-confidence)).sum())

    return _least(log_loss)


def _least(loss: Callable[[float], float]) -> Scaling:
    """The temperature whose logarithm has the least loss."""
    bounds = (float(np.log(_MIN_TEMPERATURE)), float(np.log(_MAX_TEMPERATURE)))
    return Scaling(float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)))


def cross_fitted_probabilities(
    logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating], *, fit: Fit = fit_temperature
) -> npt.NDArray[np.float64]:
    """Probabilities n×c of each half of the pictures with the scaling fitted on the other half.

    What is measured on these is honest although the final scaling uses all pictures.
    """
    even = np.arange(len(logits)) % 2 == 0
    result = np.empty(logits.shape, dtype=np.float64)
    for half in (even, ~even):
        result[half] = softmax(fit(logits[~half], targets[~half]).apply(logits[half]), axis=1)
    return result


def logits_from_probabilities(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Logits n×c whose softmax these probabilities are; 0 becomes a very negative number."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _SMALLEST))
