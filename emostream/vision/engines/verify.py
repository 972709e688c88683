"""The outcome of comparing one variant of a model with the variant that it was made from."""

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
        model: which model.
        variant: its precision, and for what it is laid out where that differs.
        file: name of the file.
        size_bytes: of the file.
        agreement: share of same answers (classifier: crops that the reference decides; detector: faces found by both).
        max_difference: largest difference of a probability (detector: of the score of a cell).
        milliseconds: processor time for a crop (detector: for the golden frame) on one thread of this machine.
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
    """Processor time of a call, median of some: other programs on the machine hardly change it."""
    call()  # the first call allocates
    spent = []
    for _ in range(_NUM_RUNS):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return 1000 * statistics.median(spent)
