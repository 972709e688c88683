"""What the votes of ten people say about a set, and about the head that learned them.

How right a head can be depends on how far people agree: where ten agree no vote is contradicted, of five against four
almost every second one is. So figures of two sets compare only beside their votes. Three readings of the votes are
measured, each over the pictures that it is defined for:

- plurality: the word with most votes, over pictures whose word is one of the seven (`majority_labels`);
- majority mode, as papers on FER+ have it (Barsoum et al. 2016; `majority_mode_labels`): the clear cases only;
- the whole distribution: cross entropy to the shares of the votes for the seven words, over the pictures of plurality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from emostream.domain.emotion import EMOTIONS
from training.data.labels import CONTEMPT, NO_MAJORITY, majority_labels, majority_mode_labels, vote_distributions
from training.measure.metrics import HeadMetrics, Interval, head_metrics

Votes = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VoteStatistics:
    """How far people agree in a set.

    Attributes:
        num_pictures: with votes.
        all_agree: share of them whose votes are all for one of the ten FER+ columns.
        entropy: mean entropy in nats of the shares of the seven words, over pictures of plurality: no cross entropy to
            them is smaller. None where there is no such picture.
        winner_shares: votes of the most frequent word → share of the pictures of plurality.
    """

    num_pictures: int
    all_agree: float
    entropy: float | None
    winner_shares: dict[int, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "n": self.num_pictures,
            "all_agree": self.all_agree,
            "entropy": self.entropy,
            "winner_shares": {str(votes): share for votes, share in self.winner_shares.items()},
        }


@dataclass(frozen=True, slots=True)
class WinnerFigures:
    """Accuracy by the number of votes for the most frequent class, with its 95 % interval (Wilson, 1927)."""

    votes: int
    num_pictures: int
    accuracy: float
    interval: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class VoteFigures:
    """The FER+ head against the votes.

    Attributes:
        statistics: of the set.
        majority_mode: over the pictures whose label is one of the seven; None where there is none.
        majority_mode_with_contempt: over these and those whose label is contempt, an answer that a head of seven never
            gives; None where there is none.
        cross_entropy: to the distribution of the votes, in nats; None without pictures of plurality.
        by_winner: by the votes of the most frequent word, fewest first.
    """

    statistics: VoteStatistics
    majority_mode: HeadMetrics | None
    majority_mode_with_contempt: HeadMetrics | None
    cross_entropy: float | None
    by_winner: tuple[WinnerFigures, ...]

    def accuracy_at(self, winner_shares: Mapping[int, float]) -> float | None:
        """What accuracy would be if people agreed as they do elsewhere: each row of `by_winner` at its share there.

        None where no row occurs there.
        """
        shares = np.array([winner_shares.get(row.votes, 0.0) for row in self.by_winner])
        accuracies = np.array([row.accuracy for row in self.by_winner])
        return float(shares @ accuracies / shares.sum()) if shares.sum() > 0 else None


def vote_statistics(votes: Votes) -> VoteStatistics | None:
    """Of votes n×10 (FER+ columns); None without votes."""
    voted = votes[votes.sum(axis=1) > 0]
    if not len(voted):
        return None
    known = voted[majority_labels(voted) != NO_MAJORITY]
    counts, how_many = np.unique(_winner_votes(known), return_counts=True)
    return VoteStatistics(
        num_pictures=len(voted),
        all_agree=float((voted.max(axis=1) == voted.sum(axis=1)).mean()),
        entropy=_cross_entropy(vote_distributions(known), vote_distributions(known)) if len(known) else None,
        winner_shares={int(count): float(num / len(known)) for count, num in zip(counts, how_many, strict=True)},
    )


def vote_figures(probabilities: npt.NDArray[np.floating], votes: Votes) -> VoteFigures | None:
    """Measure probabilities n×7 (in the order of `EMOTIONS`) against votes n×10; None without votes."""
    statistics = vote_statistics(votes)
    if statistics is None:
        return None
    plurality, mode = majority_labels(votes), majority_mode_labels(votes)
    known = plurality != NO_MAJORITY
    with_contempt = np.pad(np.asarray(probabilities, dtype=np.float64), ((0, 0), (0, 1)))
    return VoteFigures(
        statistics=statistics,
        majority_mode=_metrics(probabilities, mode, (mode != NO_MAJORITY) & (mode != CONTEMPT), EMOTIONS),
        majority_mode_with_contempt=_metrics(with_contempt, mode, mode != NO_MAJORITY, (*EMOTIONS, "contempt")),
        cross_entropy=_cross_entropy(vote_distributions(votes[known]), probabilities[known]) if known.any() else None,
        by_winner=_by_winner(probabilities[known], plurality[known], _winner_votes(votes[known])),
    )


def _by_winner(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], winner_votes: npt.NDArray[np.int64]
) -> tuple[WinnerFigures, ...]:
    rows = []
    for count in np.unique(winner_votes):
        chosen = winner_votes == count
        right = probabilities[chosen].argmax(axis=1) == labels[chosen]
        # Some rows have a handful of pictures, all of them right or none: a bootstrap would be certain then.
        interval = binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="wilson")
        rows.append(
            WinnerFigures(int(count), len(right), float(right.mean()), (float(interval.low), float(interval.high)))
        )
    return tuple(rows)


def _winner_votes(votes: Votes) -> npt.NDArray[np.int64]:
    return np.asarray(np.rint(votes.max(axis=1, initial=0)), dtype=np.int64)


def _metrics(
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
    class_names: tuple[str, ...],
) -> HeadMetrics | None:
    if not chosen.any():
        return None
    return head_metrics(probabilities[chosen], labels[chosen], class_names=class_names)


def _cross_entropy(targets: npt.NDArray[np.floating], probabilities: npt.NDArray[np.floating]) -> float:
    logs = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), 1e-12, 1.0))
    return float(-(targets * logs).sum(axis=1).mean())
