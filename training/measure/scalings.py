"""How the logits of the heads are scaled, fitted on validation pictures, and how honest the probabilities are then.

Votes are a distribution, and a temperature and a shift for each class are fitted to all of it. A label is one answer,
and there the temperature is fitted to how often the top answer is right, which is what calibration errors measure: on
the first model the challenge head's error is 0.028 so, and 0.031 by the likelihood of the label. Where there are no
votes the head that events carry is fitted to the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax

from emostream.domain.emotion import EMOTIONS
from training.data.face_set import FaceSet
from training.data.labels import majority_labels, one_hot, vote_distributions
from training.measure.inference import HeadOutputs
from training.measure.metrics import expected_calibration_error
from training.measure.temperature import Fit, Scaling, cross_fitted_probabilities, fit_confidence, fit_distribution


@dataclass(frozen=True, slots=True)
class HeadScalings:
    """What is done to the logits of each head before its softmax."""

    ferplus: Scaling = field(default_factory=Scaling)
    fer2013: Scaling = field(default_factory=Scaling)


FerplusTarget = Literal["votes", "majority"]
"""What the FER+ head's probabilities should mean: the share of people who say so, or the chance that most people do."""


@dataclass(frozen=True, slots=True)
class FittedScalings:
    """What was fitted.

    Attributes:
        chosen: what the model does to its logits.
        figures: name → value for the manifest: the scalings for either target of the FER+ head, and calibration errors
            and accuracies measured on halves of the pictures that were not fitted to.
    """

    chosen: HeadScalings
    figures: dict[str, float]


def fit_scalings(
    logits: HeadOutputs, faces: FaceSet, *, ferplus_target: FerplusTarget, has_vote_head: bool = True
) -> FittedScalings:
    """Fit the scaling of each head on all pictures; the head for labels always to the labels.

    Args:
        logits: of both heads, n×c; the same twice where there is one.
        faces: the n pictures, with their labels and votes.
        ferplus_target: what the FER+ head is fitted to. Both are measured.
        has_vote_head: whether there is such a head; otherwise the one head is fitted to the labels.
    """
    labels = one_hot(torch.from_numpy(faces.labels), len(faces.class_names)).numpy()
    fer2013 = fit_confidence(logits.fer2013, labels)
    carried = logits.fer2013 if faces.has_votes else logits.ferplus
    error = _error(cross_fitted_probabilities(carried, labels, fit=fit_confidence), labels)
    if not has_vote_head:
        figures = {"temperature": fer2013.temperature, "cross_fitted_ece": error}
        return FittedScalings(HeadScalings(ferplus=fer2013, fer2013=fer2013), figures)
    figures = {"temperature_fer2013": fer2013.temperature, "cross_fitted_ece": error}
    ferplus = fit_confidence(logits.ferplus, labels)
    if faces.votes is not None and faces.has_votes:
        majority = majority_labels(faces.votes)
        known = majority >= 0
        rows, votes = logits.ferplus[known], vote_distributions(faces.votes)[known]
        winners = np.eye(len(EMOTIONS), dtype=np.float32)[majority[known]]
        fits: dict[str, tuple[npt.NDArray[np.float32], Fit]] = {
            "votes": (votes, fit_distribution),
            "majority": (winners, fit_confidence),
        }
        for name, (target, fit) in fits.items():
            scaling, held_out = fit(rows, target), cross_fitted_probabilities(rows, target, fit=fit)
            told = {
                "ferplus_ece": _error(held_out, winners),
                "ferplus_vote_ece": _error(held_out, votes),
                "ferplus_accuracy": _accuracy(held_out, majority[known]),
            }
            figures[f"temperature_ferplus_{name}"] = scaling.temperature
            figures |= {f"cross_fitted_{figure}_{name}": value for figure, value in told.items()}
            if name == ferplus_target:
                ferplus = scaling
                figures |= {f"cross_fitted_{figure}": value for figure, value in told.items()}
    figures["temperature_ferplus"] = ferplus.temperature
    figures |= {f"shift_ferplus_{emotion}": shift for emotion, shift in zip(EMOTIONS, ferplus.shifts, strict=False)}
    return FittedScalings(HeadScalings(ferplus=ferplus, fer2013=fer2013), figures)


def probabilities_at(logits: HeadOutputs, scalings: HeadScalings) -> HeadOutputs:
    """What the served model should answer, float32 n×c."""
    return HeadOutputs(
        softmax(scalings.ferplus.apply(logits.ferplus), axis=1).astype(np.float32),
        softmax(scalings.fer2013.apply(logits.fer2013), axis=1).astype(np.float32),
    )


def scaling_of(metrics: Mapping[str, float], head: Literal["ferplus", "fer2013"]) -> Scaling | None:
    """What a manifest says about a head, or about the only one; None when it does not."""
    if (temperature := metrics.get(f"temperature_{head}", metrics.get("temperature"))) is None:
        return None
    shifts = [metrics.get(f"shift_{head}_{emotion}") for emotion in EMOTIONS]
    return Scaling(temperature, tuple(shift for shift in shifts if shift is not None))


def _accuracy(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean()) if len(labels) else 0.0


def _error(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.float32]) -> float:
    """Calibration error of the top answers, each as true as its share in the target distribution."""
    if not len(targets):
        return 0.0
    truth = targets[np.arange(len(targets)), probabilities.argmax(axis=1)]
    return expected_calibration_error(probabilities, truth.astype(np.float64))
