"""How often a second panel of people says what the first one said: what accuracy against votes can mean.

A set collected from the web shows many photographs more than once, cut or lit differently, and each of these pictures
was put to ten people of its own. So the plurality of another picture of the same photograph is the answer of another
panel to almost the same question, and is measured as a model's answer is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.labels import CONTEMPT, NO_MAJORITY, majority_labels, majority_mode_labels
from training.measure.metrics import Interval


@dataclass(frozen=True, slots=True)
class PanelFigures:
    """A share of pictures on which another panel says the same.

    Attributes:
        num_pictures: with another picture of the same photograph.
        num_photographs: that these are of.
        accuracy: mean over these pictures of the share of the other panels whose plurality is that of the picture.
        interval: 95 %, by photographs: pictures of one photograph are not independent.
    """

    num_pictures: int
    num_photographs: int
    accuracy: float
    interval: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SecondPanel:
    """What a second panel reaches, over the pictures of each reading of the votes (`vote_figures`).

    Attributes:
        plurality: over pictures whose plurality is one of the seven words.
        majority_mode: over pictures whose majority mode is one of the seven words; None where there is none.
        by_winner: votes of the most frequent word → over the pictures of plurality.
    """

    plurality: PanelFigures
    majority_mode: PanelFigures | None
    by_winner: dict[int, PanelFigures]

    def accuracy_at(self, winner_shares: Mapping[int, float]) -> float | None:
        """Plurality if people agreed as they do elsewhere: each entry of `by_winner` at its share there.

        None where none of them occurs there.
        """
        shares = {votes: share for votes, share in winner_shares.items() if votes in self.by_winner}
        total = sum(shares.values())
        return sum(self.by_winner[votes].accuracy * share for votes, share in shares.items()) / total if total else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "plurality": self.plurality.as_dict(),
            "majority_mode": None if self.majority_mode is None else self.majority_mode.as_dict(),
            "by_winner_votes": {str(votes): figures.as_dict() for votes, figures in self.by_winner.items()},
        }


def second_panel(votes: npt.NDArray[np.float32], groups: npt.NDArray[np.int64]) -> SecondPanel | None:
    """Votes n×10 (FER+ columns) and groups n (equal numbers for the same photograph) → what a second panel reaches.

    None where no photograph of plurality was put to two panels.
    """
    voted = votes.sum(axis=1) > 0
    votes, groups = votes[voted], groups[voted]
    if not len(votes):
        return None
    winner = votes.argmax(axis=1)
    counts = np.zeros((int(groups.max()) + 1, votes.shape[1]), dtype=np.int64)
    np.add.at(counts, (groups, winner), 1)
    num_others = counts.sum(axis=1)[groups] - 1
    agreement = (counts[groups, winner] - 1) / np.maximum(num_others, 1)
    plurality, mode = majority_labels(votes) != NO_MAJORITY, majority_mode_labels(votes)
    asked = (num_others > 0) & plurality
    if not asked.any():
        return None
    in_mode = asked & (mode != NO_MAJORITY) & (mode != CONTEMPT)
    most = np.rint(votes.max(axis=1)).astype(np.int64)
    return SecondPanel(
        plurality=_figures(agreement, groups, asked),
        majority_mode=_figures(agreement, groups, in_mode) if in_mode.any() else None,
        by_winner={
            int(count): _figures(agreement, groups, asked & (most == count)) for count in np.unique(most[asked])
        },
    )


def _figures(
    agreement: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> PanelFigures:
    values = agreement[chosen]
    _, photograph = np.unique(groups[chosen], return_inverse=True)
    mean = float(values.mean())
    # The variance of a mean over clusters: of the sums of what each photograph is off by.
    off = np.bincount(photograph, weights=values - mean)
    half = 1.96 * float(np.sqrt((off**2).sum())) / len(values)
    return PanelFigures(len(values), len(off), mean, (max(mean - half, 0.0), min(mean + half, 1.0)))
