"""How honest the probabilities of both heads are, before and after its scaling.

Whether a probability is honest depends on the question it answers:

- `fer2013`: the second head against the challenge's label; without votes the first head, or the only one, against the
  label.
- `ferplus_vote`: the first head against the share of people who gave its answer. This is what the first head says.
- `ferplus`: the first head against the majority label. A head that is honest about shares is too modest here: where six
  of ten people say happy, the majority is happy for certain.
- `ferplus_majority`: the first head, sharpened by one exponent, against the majority label: what it can say to someone
  who asks for the majority. The exponent is fitted on one half of the pictures and measured on the other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emostream.domain.emotion import EMOTIONS
from emostream.domain.model_manifest import ModelManifest
from training.data.labels import vote_distributions
from training.measure.inference import HeadOutputs
from training.measure.metrics import Reliability, reliability
from training.measure.scalings import scaling_of
from training.measure.temperature import (
    Scaling,
    cross_fitted_probabilities,
    fit_temperature,
    logits_from_probabilities,
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """One head about one question.

    Attributes:
        after: as the model gives its probabilities.
        before: with the scaling undone; None when the manifest does not tell it.
        temperature: of the head; None when the manifest does not tell it.
    """

    after: Reliability
    before: Reliability | None = None
    temperature: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def calibrations(
    outputs: HeadOutputs,
    *,
    labels: npt.NDArray[np.int64],
    votes: npt.NDArray[np.float32],
    majority: npt.NDArray[np.int64],
    manifest: ModelManifest,
) -> dict[str, Calibration]:
    """Question → calibration, for every question that the data can answer.

    Args:
        outputs: of both heads (`evaluation.asked_and_answered`), in the order of the classes.
        labels: n, class indices.
        votes: n×10, in the order of `FERPLUS_COLUMNS`.
        majority: n, class index or NO_MAJORITY.
        manifest: its metrics tell what to undo, where they are there (`training.measure.scalings`).
    """
    known = majority >= 0
    scaling = scaling_of(manifest.metrics, "fer2013" if known.any() else "ferplus")
    truth = np.eye(outputs.fer2013.shape[1])[labels]
    result = {"fer2013": _calibration(outputs.fer2013, truth, scaling)}
    if known.any():
        probabilities, scaling = outputs.ferplus[known], scaling_of(manifest.metrics, "ferplus")
        goal = np.eye(len(EMOTIONS))[majority[known]]
        sharpened = cross_fitted_probabilities(logits_from_probabilities(probabilities), goal)
        result["ferplus_vote"] = _calibration(probabilities, vote_distributions(votes[known]), scaling)
        result["ferplus"] = _calibration(probabilities, goal, scaling)
        result["ferplus_majority"] = _calibration(sharpened, goal, None)
    return result


def ferplus_question(manifest: ModelManifest) -> str:
    """Which of the questions the first head was fitted to answer: `ferplus` (majority), or else `ferplus_vote`."""
    fitted, majority = (manifest.metrics.get(f"temperature_ferplus{end}") for end in ("", "_majority"))
    votes = manifest.metrics.get("temperature_ferplus_votes")
    return "ferplus" if fitted is not None and fitted == majority and fitted != votes else "ferplus_vote"


def majority_exponent(probabilities: npt.NDArray[np.floating], majority: npt.NDArray[np.int64]) -> float:
    """The power k for which pᵏ, scaled to sum 1, best predicts the chance that the majority of people says so."""
    labels = np.eye(probabilities.shape[1])[majority]
    return 1 / fit_temperature(logits_from_probabilities(probabilities), labels).temperature


def _calibration(
    probabilities: npt.NDArray[np.floating], goal: npt.NDArray[np.floating], scaling: Scaling | None
) -> Calibration:
    """Against target distributions n×c; the top answer is as true as its share there."""
    truth = goal[np.arange(len(goal)), probabilities.argmax(axis=1)]
    after = reliability(probabilities, truth)
    if scaling is None:
        return Calibration(after)
    before = scaling.undo(probabilities)
    truth_before = goal[np.arange(len(goal)), before.argmax(axis=1)]  # shifts may change the answer
    return Calibration(after, reliability(before, truth_before), scaling.temperature)
