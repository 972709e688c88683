"""The turn that makes a stored picture upright.

Phones store pictures as the sensor reads them and add a display matrix: nine int32 `(a b u, c d v, x y w)` in 16.16
fixed point that map a stored point to a shown point, x' = a·x + c·y, y' = b·x + d·y.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Pixels = TypeVar("Pixels", bound=npt.NDArray[np.uint8])

_MATRIX_BYTES = 36


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways a picture can lie: rows and columns exchanged or not, then mirrored or not."""

    is_transposed: bool = False
    is_flipped_vertically: bool = False
    is_flipped_horizontally: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """The upright picture (H×W or H×W×C) as a view: nothing is copied."""
        if self is UPRIGHT:  # the common case, on the hot path
            return pixels
        upright = pixels.swapaxes(0, 1) if self.is_transposed else pixels
        rows = slice(None, None, -1 if self.is_flipped_vertically else 1)
        columns = slice(None, None, -1 if self.is_flipped_horizontally else 1)
        return upright[rows, columns]  # type: ignore[return-value]


UPRIGHT = Orientation()


def orientation_from_display_matrix(matrix: bytes) -> Orientation:
    """The nearest of the eight orientations (matrices at odd angles exist); upright when it is no matrix."""
    if len(matrix) < _MATRIX_BYTES:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:_MATRIX_BYTES])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)
