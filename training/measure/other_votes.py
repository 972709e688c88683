"""How well a model knows the pictures for which people had another answer than the seven words.

Contempt, unknown and not a face are rarely the answer of most people, so no accuracy is measured but the area under the
ROC curve: the chance that a picture with that answer is given a higher share than one without.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from training.data.labels import FERPLUS_COLUMNS, OTHER_VOTES
from training.measure.metrics import Interval

REJECT = "unknown or NF"
"""Pictures that say nothing about an expression."""


@dataclass(frozen=True, slots=True)
class OtherVoteFigures:
    """One of these answers.

    Attributes:
        num_pictures: whose plurality it is.
        auc: area under the ROC curve.
        interval: 95 % (Hanley and McNeil, 1982).
    """

    num_pictures: int
    auc: float
    interval: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def other_vote_figures(
    shares: npt.NDArray[np.floating], votes: npt.NDArray[np.floating]
) -> dict[str, OtherVoteFigures]:
    """Shares n×3 (in the order of `OTHER_VOTES`) against votes n×10 → answer → figures, of the answers that occur."""
    voted = votes.sum(axis=1) > 0
    shares, winner = shares[voted], votes[voted].argmax(axis=1)
    columns = [FERPLUS_COLUMNS.index(name) for name in OTHER_VOTES]
    asked = {name: (shares[:, place], winner == columns[place]) for place, name in enumerate(OTHER_VOTES)}
    asked[REJECT] = (shares[:, 1:].sum(axis=1), np.isin(winner, columns[1:]))
    return {name: _figures(score, truth) for name, (score, truth) in asked.items() if 0 < truth.sum() < len(truth)}


def _figures(score: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_]) -> OtherVoteFigures:
    auc = float(roc_auc_score(truth, score))
    num, others = int(truth.sum()), int((~truth).sum())
    of_one, of_two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (num - 1) * (of_one - auc**2) + (others - 1) * (of_two - auc**2)) / (num * others)
    half = 1.96 * float(np.sqrt(variance))
    return OtherVoteFigures(num, auc, (max(auc - half, 0.0), min(auc + half, 1.0)))
