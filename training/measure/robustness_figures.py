"""Loss of accuracy on corrupted pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of right answers, in 0…1: labels, and FER+ majority (None when the data has no votes)."""

    fer2013: float
    ferplus: float | None

    def minus(self, other: Accuracy) -> Accuracy:
        """The difference of both shares."""
        is_known = self.ferplus is not None and other.ferplus is not None
        return Accuracy(self.fer2013 - other.fer2013, self.ferplus - other.ferplus if is_known else None)  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class RobustnessCurve:
    """Accuracy against the strength of one corruption.

    Attributes:
        name, unit, strengths: as in `Corruption`.
        accuracies: one for each strength.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    accuracies: tuple[Accuracy, ...]


@dataclass(frozen=True, slots=True)
class Robustness:
    """Loss of accuracy on corrupted pictures.

    Attributes:
        num_pictures: pictures measured.
        clean: accuracy on them as they are.
        mirrored: accuracy on them mirrored.
        curves: one for each corruption.
        face_sizes: accuracy against the side of the face in pixels.
    """

    num_pictures: int
    clean: Accuracy
    mirrored: Accuracy
    curves: tuple[RobustnessCurve, ...]
    face_sizes: RobustnessCurve

    @property
    def mean_corrupted(self) -> Accuracy:
        """Mean accuracy over all corruptions and strengths; face sizes and mirroring are not among them."""
        return mean_accuracy([accuracy for curve in self.curves for accuracy in curve.accuracies])

    @property
    def mean_drop(self) -> Accuracy:
        """What a corruption costs on average: accuracy on clean pictures less `mean_corrupted`."""
        return self.clean.minus(self.mean_corrupted)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        means = {"mean_corrupted": asdict(self.mean_corrupted), "mean_drop": asdict(self.mean_drop)}
        return means | asdict(self)


def head_names(has_votes: bool) -> tuple[str, ...]:
    """What is measured, in words: the challenge is FER2013's, whose pictures have votes.

    >>> head_names(True), head_names(False)
    (('challenge labels', 'FER+ majority'), ('labels',))
    """
    return ("challenge labels", "FER+ majority") if has_votes else ("labels",)


def mean_accuracy(accuracies: list[Accuracy]) -> Accuracy:
    """The mean of each head; `accuracies` must not be empty."""
    ferplus = [accuracy.ferplus for accuracy in accuracies if accuracy.ferplus is not None]
    return Accuracy(
        float(np.mean([accuracy.fer2013 for accuracy in accuracies])), float(np.mean(ferplus)) if ferplus else None
    )
