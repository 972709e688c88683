"""Measures how much two variants of a model differ on the same crops, and holds the allowed differences.

Every conversion is checked against it: the export in `training/`, `emostream models verify`, and each compiled engine
before its first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emostream.errors import ManifestError

Probabilities = npt.NDArray[np.floating]
"""n×labels; each row is a probability distribution."""


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences between two variants of a model, over all their outputs.

    Attributes:
        argmax_agreement: share of crops with the same most probable label, of the output where it is lowest.
        max_difference: largest absolute difference of a probability.
        mean_difference: mean absolute difference of the probabilities.
        num_crops: number of crops compared.
    """

    argmax_agreement: float
    max_difference: float
    mean_difference: float
    num_crops: int


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The differences that a conversion may cause."""

    min_argmax_agreement: float
    max_difference: float

    def allows(self, parity: Parity) -> bool:
        """Whether the variants count as the same model. False where a value is NaN."""
        return parity.argmax_agreement >= self.min_argmax_agreement and parity.max_difference <= self.max_difference


TOLERANCES = {
    # The same arithmetic in another order, with weights rounded to eleven bits. The answer for a crop near the boundary
    # between two classes may change.
    "fp32": Tolerance(min_argmax_agreement=0.997, max_difference=0.01),
    # Eleven bits of precision through a dozen layers.
    "fp16": Tolerance(min_argmax_agreement=0.995, max_difference=0.05),
    # Eight bits: a few crops may change a lot, most hardly change.
    "int8": Tolerance(min_argmax_agreement=0.985, max_difference=0.5),
}
"""Precision of the variant that is compared with FP32 → allowed differences."""


def compare(reference: Sequence[Probabilities], other: Sequence[Probabilities], *, min_margin: float = 0.0) -> Parity:
    """Measure the differences between two results, output by output, on the same n ≥ 1 crops.

    Args:
        reference: one array per output.
        other: the same for the other variant.
        min_margin: crops whose two highest probabilities differ by less do not count for the agreement.
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
    """Reject a conversion that changed the model too much.

    Args:
        parity: its differences from the reference.
        precision: of the converted variant.
        what: names the variant in the message, for example "the fp16 model".

    Raises:
        ManifestError: a difference is larger than this precision allows.
    """
    tolerance = TOLERANCES[precision]
    if not tolerance.allows(parity):
        raise ManifestError(
            f"{what} does not match its reference on {parity.num_crops} crops: expected agreement ≥ "
            f"{tolerance.min_argmax_agreement} and differences ≤ {tolerance.max_difference}, got "
            f"{parity.argmax_agreement:.4f} and {parity.max_difference:.4f}"
        )
