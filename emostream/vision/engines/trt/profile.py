"""The input shapes that an engine is compiled for, and how a batch is split into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The input shapes of one optimization profile: from `smallest` to `largest`, tuned for `best`."""

    smallest: Shape
    best: Shape
    largest: Shape

    def __post_init__(self) -> None:
        sides = zip(self.smallest, self.best, self.largest, strict=True)
        if not all(0 < low <= middle <= high for low, middle, high in sides):
            raise ValueError(f"expected 0 < smallest ≤ best ≤ largest, got {self}")

    def takes(self, shape: Shape) -> bool:
        """Whether the profile includes this shape."""
        return len(shape) == len(self.smallest) and all(
            low <= side <= high for low, side, high in zip(self.smallest, shape, self.largest, strict=True)
        )

    def __str__(self) -> str:
        ends = [self.best] if self.smallest == self.largest else [self.smallest, self.best, self.largest]
        return "…".join("×".join(map(str, shape)) for shape in ends)


def fixed(shape: Shape) -> ShapeProfile:
    """The profile of exactly this shape."""
    return ShapeProfile(shape, shape, shape)


# Launching a batch on a GPU takes about as long as computing this many crops; smaller batches are hardly faster.
_START_COST_CROPS = 8


@lru_cache(maxsize=1024)
def plan_batches(num_items: int, buckets: tuple[int, ...]) -> tuple[int, ...]:
    """Split a number of items into batches of the available sizes.

    The sizes are returned largest first; their sum is at least `num_items`, and the last one may be partly filled. A
    simple cost model chooses between one padded larger batch and several smaller ones.

    >>> plan_batches(7, (1, 8, 32, 128)), plan_batches(33, (1, 8, 32, 128)), plan_batches(300, (1, 8, 32, 128))
    ((8,), (32, 1), (128, 128, 32, 8, 8))

    Args:
        num_items: number of items, 0 or more.
        buckets: available sizes, ascending.
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


def filled_up(batch: Array, size: int) -> Array:
    """A batch with zeros after its n ≤ `size` items; itself where it is full.

    Args:
        batch: any dtype, n×….
        size: number of items of the result.
    """
    if len(batch) == size:
        return batch
    result = np.zeros((size, *batch.shape[1:]), batch.dtype)
    result[: len(batch)] = batch
    return result


def _cost(sizes: Sequence[int]) -> int:
    return sum(sizes) + _START_COST_CROPS * len(sizes)
