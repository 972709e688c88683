"""Proof that a variant of the model kept what was trained: its answers, and how often they are right."""

from __future__ import annotations

from dataclasses import dataclass

from emostream.errors import ManifestError
from emostream.vision.classify.parity import Parity, compare, require_parity
from training.evaluate import Evaluation
from training.measure.inference import HeadOutputs

MAX_ACCURACY_DROP = 0.005
"""Half a point of either head."""


def compare_heads(reference: HeadOutputs, other: HeadOutputs) -> Parity:
    """Measure the distance of two results on the same crops, over both heads."""
    return compare((reference.ferplus, reference.fer2013), (other.ferplus, other.fer2013))


@dataclass(frozen=True, slots=True)
class AccuracyDrop:
    """What a conversion cost on labelled pictures; negative where it became better.

    Attributes:
        fer2013: labels; of a model without votes, asked of the head that events carry.
        ferplus: FER+ majority; 0 without votes.
    """

    fer2013: float
    ferplus: float


def accuracy_drop(reference: Evaluation, other: Evaluation) -> AccuracyDrop:
    """The accuracies of the first minus those of the second, measured on the same pictures."""
    ferplus = 0.0
    if reference.ferplus is not None and other.ferplus is not None:
        ferplus = reference.ferplus.accuracy - other.ferplus.accuracy
    return AccuracyDrop(reference.fer2013.accuracy - other.fer2013.accuracy, ferplus)


def require_same_model(parity: Parity, drop: AccuracyDrop, *, precision: str, what: str, num_ferplus: int) -> None:
    """Stop an export that changed the model too much. On fewer than 200 pictures one may be lost, whatever its share.

    Raises:
        ManifestError: answers differ, or are right less often, by more than this precision may cost.
    """
    require_parity(parity, precision=precision, what=what)
    for head, lost, num in (
        ("labels", drop.fer2013, parity.num_crops),
        ("FER+ majority", drop.ferplus, num_ferplus),
    ):
        allowed = max(MAX_ACCURACY_DROP, 1 / max(num, 1))
        if lost > allowed + 1e-9:
            raise ManifestError(
                f"{what} is less accurate than the trained one: expected a loss of at most "
                f"{100 * allowed:.2f} points on {head}, got {100 * lost:.2f} ({num} pictures)"
            )
