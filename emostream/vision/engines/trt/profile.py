"""Pure: the shapes an engine is made for, and how a batch is cut into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The shapes of the input that one part of an engine takes: from `smallest` to `largest`, best at `best`."""

    smallest: Shape
    best: Shape
    largest: Shape

    def __post_init__(self) -> None:
        sides = zip(self.smallest, self.best, self.largest, strict=True)
        if not all(0 < low <= middle <= high for low, middle, high in sides):
            raise ValueError(f"expected 0 < smallest ≤ best ≤ largest, got {self}")

    def takes(self, shape: Shape) -> bool:
        """Whether an input of this shape fits."""
        return len(shape) == len(self.smallest) and all(
            low <= side <= high for low, side, high in zip(self.smallest, shape, self.largest, strict=True)
        )

    def __str__(self) -> str:
        ends = [self.best] if self.smallest == self.largest else [self.smallest, self.best, self.largest]
        return "…".join("×".join(map(str, shape)) for shape in ends)


def fixed(shape: Shape) -> ShapeProfile:
    """The profile of this one shape."""
    return ShapeProfile(shape, shape, shape)


# Starting a batch on a GPU costs about as much as computing this many crops: below it, time hardly depends on size.
_START_COST_CROPS = 8


@lru_cache(maxsize=1024)
def plan_batches(num_items: int, buckets: tuple[int, ...]) -> tuple[int, ...]:
    """Cut a batch into buckets: sizes whose sum is at least `num_items`, largest first; the last may be partly filled.

    Chooses between one larger bucket with empty places and several smaller ones by a simple model of their cost.

    >>> plan_batches(7, (1, 8, 32, 128)), plan_batches(33, (1, 8, 32, 128)), plan_batches(300, (1, 8, 32, 128))
    ((8,), (32, 1), (128, 128, 32, 8, 8))

    Args:
        num_items: how many there are, 0 or more.
        buckets: sizes that there are, in growing order.
    """
    if num_items <= 0:
        return ()
    num_full, rest = divmod(num_items, buckets[-1])
    if num_full:
        return (buckets[-1],) * num_full + plan_batches(rest, buckets)
    padded = (next(bucket for bucket in buckets if bucket >= num_items),)
    smaller = [bucket for bucket in buckets if bucket < num_items]
    if not smaller:
        return padded
    num_full, rest = divmod(num_items, smaller[-1])
    split = (smaller[-1],) * num_full + plan_batches(rest, buckets)
    return min(padded, split, key=_cost)


def _cost(sizes: Sequence[int]) -> int:
    return sum(sizes) + _START_COST_CROPS * len(sizes)
