"""Pure: how far two variants of a model are apart on the same crops, and the one policy of how far they may be.

Every conversion is held to it: the export by `training/`, `emostream models verify`, and each compiled engine before it
is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.errors import ManifestError

Probabilities = npt.NDArray[np.floating]
"""n×labels, each row a distribution."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two variants of a model are apart, over all their outputs.

    Attributes:
        argmax_agreement: share of crops with the same answer, of the output where it is lowest.
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

    def allows(self, parity: Parity) -> bool:
        """Whether these two variants count as the same model; never for a NaN."""
        return parity.argmax_agreement >= self.min_argmax_agreement and parity.max_difference <= self.max_difference


TOLERANCES = {
    # The same arithmetic in another order, with weights rounded to eleven bits. A crop on the edge between two classes
    # may tip over.
    "fp32": Tolerance(min_argmax_agreement=0.997, max_difference=0.01),
    # Eleven bits of precision through a dozen layers.
    "fp16": Tolerance(min_argmax_agreement=0.995, max_difference=0.05),
    # Eight bits: single crops may move far, most do not.
    "int8": Tolerance(min_argmax_agreement=0.985, max_difference=0.5),
}
"""Precision of the form that is compared with FP32 → what it may change."""


def compare(reference: Sequence[Probabilities], other: Sequence[Probabilities], *, min_margin: float = 0.0) -> Parity:
    """Measure the distance of two results, output by output, on the same n ≥ 1 crops.

    Args:
        reference: one array for each output.
        other: the same of the other variant.
        min_margin: crops whose two best answers are less than this apart do not count for the agreement.
    """
    agreements, differences = [], []
    for before, after in zip(reference, other, strict=True):
        second, best = np.sort(before, axis=1)[:, -2:].T
        is_decided = best - second >= min_margin
        agrees = before.argmax(axis=1) == after.argmax(axis=1)
        agreements.append(float(agrees[is_decided].mean()) if is_decided.any() else 1.0)
        differences.append(np.abs(before.astype(np.float64) - after))
    return Parity(
        argmax_agreement=min(agreements),
        max_difference=float(max(difference.max() for difference in differences)),
        mean_difference=float(np.mean([difference.mean() for difference in differences])),
        num_crops=len(reference[0]),
    )


def require_parity(parity: Parity, *, precision: str, what: str) -> None:
    """Stop a conversion that changed the model too much.

    Args:
        parity: its distance from the reference.
        precision: of the converted variant.
        what: names it in the message, for example "the fp16 model".

    Raises:
        ManifestError: outside the tolerance of this precision.
    """
    tolerance = TOLERANCES[precision]
    if not tolerance.allows(parity):
        raise ManifestError(
            f"{what} does not match its reference on {parity.num_crops} crops: expected agreement ≥ "
            f"{tolerance.min_argmax_agreement} and differences ≤ {tolerance.max_difference}, got "
            f"{parity.argmax_agreement:.4f} and {parity.max_difference:.4f}"
        )
