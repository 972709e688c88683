"""Proof that a conversion kept the model: outputs before and after on the same crops, and the one tolerance policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emostream.errors import ManifestError
from training.inference import HeadOutputs


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two forms of a model are apart, over both heads.

    Attributes:
        argmax_agreement: share of crops with the same answer, the lower of the two heads.
        max_difference: largest difference of a probability.
        mean_difference: mean absolute difference of the probabilities.
        num_crops: crops compared.
    """

    argmax_agreement: float
    max_difference: float
    mean_difference: float
    num_crops: int


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a conversion may change."""

    min_argmax_agreement: float
    max_difference: float


TOLERANCES = {
    # The same arithmetic in another order, with weights rounded to eleven bits. A crop on the edge between two classes
    # may tip over.
    "fp32": Tolerance(min_argmax_agreement=0.997, max_difference=0.01),
    # Eleven bits of precision through a dozen layers.
    "fp16": Tolerance(min_argmax_agreement=0.995, max_difference=0.05),
    # Eight bits: single crops may move far, most do not.
    "int8": Tolerance(min_argmax_agreement=0.985, max_difference=0.5),
}


def compare(reference: HeadOutputs, other: HeadOutputs) -> Parity:
    """Measure the distance of two results on the same crops."""
    agreements, differences = [], []
    for before, after in ((reference.ferplus, other.ferplus), (reference.fer2013, other.fer2013)):
        agreements.append(float((before.argmax(axis=1) == after.argmax(axis=1)).mean()))
        differences.append(np.abs(before.astype(np.float64) - after))
    return Parity(
        argmax_agreement=min(agreements),
        max_difference=float(max(difference.max() for difference in differences)),
        mean_difference=float(np.mean([difference.mean() for difference in differences])),
        num_crops=len(reference.ferplus),
    )


def require_parity(parity: Parity, *, precision: str) -> None:
    """Stop a conversion that changed the model too much.

    Raises:
        ManifestError: outside the tolerance of this precision.
    """
    tolerance = TOLERANCES[precision]
    # Written so that a NaN fails.
    close = parity.argmax_agreement >= tolerance.min_argmax_agreement
    close = close and parity.max_difference <= tolerance.max_difference
    if not close:
        raise ManifestError(
            f"the {precision} model does not match the trained one on {parity.num_crops} crops: expected agreement ≥ "
            f"{tolerance.min_argmax_agreement} and differences ≤ {tolerance.max_difference}, got "
            f"{parity.argmax_agreement:.4f} and {parity.max_difference:.4f}; nothing was written"
        )
