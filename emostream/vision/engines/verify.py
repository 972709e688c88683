"""The result of comparing a variant of a model with its reference."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

_NUM_RUNS = 9


@dataclass(frozen=True, slots=True)
class VariantCheck:
    """One row of `emostream models verify`.

    Attributes:
        model: name of the model.
        variant: its precision, and its layout where that is not the default.
        file: name of the file.
        size_bytes: of the file.
        agreement: share of equal answers (classifier: over decided crops; detector: share of faces found by both).
        max_difference: largest difference of a probability (detector: of a cell's score).
        milliseconds: processor time per crop (detector: per reference frame) on one thread of this machine.
        problem: why this variant must not be used; empty when it matches.
    """

    model: str
    variant: str
    file: str
    size_bytes: int
    agreement: float | None = None
    max_difference: float | None = None
    milliseconds: float | None = None
    problem: str = ""


def processor_milliseconds(call: Callable[[], object]) -> float:
    """Median processor time of a call in milliseconds; hardly affected by other programs on the machine."""
    call()  # the first call allocates
    spent = []
    for _ in range(_NUM_RUNS):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return 1000 * statistics.median(spent)
