"""Pure: temperature scaling, one number for each head, fitted on pictures that were not trained on.

Dividing all logits by one temperature never changes an answer, only how sure it is (Guo et al. 2017). The challenge
head is fitted to the challenge's labels; the FER+ head to the distribution of the votes, since its probabilities mean
"what people would say". A softmax forgets nothing but a common shift of its logits, so a temperature can be undone, or
another one applied, on the probabilities themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

# Beyond these a head is broken, not badly calibrated.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.2, 5.0

# Below any probability that float32 can hold.
_SMALLEST = 1e-45


Fit = Callable[[npt.NDArray[np.floating], npt.NDArray[np.floating]], float]
"""(logits n×c, target distributions n×c) → temperature."""


def fit_temperature(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """The temperature with the least cross entropy of softmax(logits / t) to the target distributions.

    Args:
        logits: n×c.
        targets: n×c, rows that sum to 1 (or to 0, which leaves a picture out).
    """
    if not len(logits) or targets.sum() == 0:
        return 1.0
    rows, goal = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)

    def cross_entropy(log_temperature: float) -> float:
        return float(-(goal * log_softmax(rows / np.exp(log_temperature), axis=1)).sum())

    return _least(cross_entropy)


def fit_confidence(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """The temperature at which the top probability best tells the chance that the top answer is right (least log loss).

    Args:
        logits: n×c.
        targets: n×c, 1 for the right answer of each row.
    """
    if not len(logits):
        return 1.0
    rows = np.asarray(logits, dtype=np.float64)
    right = targets[np.arange(len(rows)), rows.argmax(axis=1)].astype(np.float64)

    def log_loss(log_temperature: float) -> float:
        confidence = softmax(rows / np.exp(log_temperature), axis=1).max(axis=1).clip(1e-12, 1 - 1e-12)
        return float(-(right * np.log(confidence) + (1 - right) * np.log1p(-confidence)).sum())

    return _least(log_loss)


def _least(loss: Callable[[float], float]) -> float:
    """The temperature whose logarithm has the least loss."""
    bounds = (float(np.log(_MIN_TEMPERATURE)), float(np.log(_MAX_TEMPERATURE)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def cross_fitted_probabilities(
    logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating], *, fit: Fit = fit_temperature
) -> npt.NDArray[np.float64]:
    """Probabilities n×c of each half of the pictures at the temperature fitted on the other half.

    What is measured on these is honest although the final temperature uses all pictures.
    """
    even = np.arange(len(logits)) % 2 == 0
    result = np.empty(logits.shape, dtype=np.float64)
    for half in (even, ~even):
        result[half] = softmax(logits[half] / fit(logits[~half], targets[~half]), axis=1)
    return result


def logits_from_probabilities(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Logits n×c whose softmax these probabilities are; 0 becomes a very negative number."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _SMALLEST))


def undo_temperature(probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """softmax(logits / t), n×c → softmax(logits)."""
    return np.asarray(softmax(temperature * logits_from_probabilities(probabilities), axis=1))
