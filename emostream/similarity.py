"""Pure: similarity transforms of the plane (turn, scale, shift), estimated from points."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Similarity = npt.NDArray[np.float64]
"""float, 2×3: [[a, −b, x], [b, a, y]], applied to column vectors (x, y, 1)."""


def similarity_from_points(source: npt.ArrayLike, target: npt.ArrayLike) -> Similarity:
    """The similarity transform (no mirroring) that brings `source` closest to `target`, n×2 each, by least squares.

    Umeyama (1991) in the plane, where it has a closed form: turn and scale are one complex number. Points that all
    coincide have no size; the shift alone is returned for them, with scale 1.
    """
    sources, targets = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    source_mean, target_mean = sources.mean(axis=0), targets.mean(axis=0)
    centred, wanted = sources - source_mean, targets - target_mean
    spread = float(np.vdot(centred, centred))
    a, b = 1.0, 0.0
    if spread > 0:
        a = float(np.vdot(centred, wanted)) / spread
        b = float(np.vdot(centred[:, 0], wanted[:, 1]) - np.vdot(centred[:, 1], wanted[:, 0])) / spread
    (sx, sy), (tx, ty) = source_mean, target_mean
    return np.array([[a, -b, tx - a * sx + b * sy], [b, a, ty - b * sx - a * sy]])


def inverse_similarity(similarity: Similarity) -> Similarity:
    """The transform back."""
    (a, _, x), (b, _, y) = similarity.tolist()
    squared = a * a + b * b
    a, b = a / squared, b / squared
    return np.array([[a, b, -a * x - b * y], [-b, a, b * x - a * y]])


def transform_points(similarity: Similarity, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Points n×2 → transformed points n×2."""
    return np.asarray(np.asarray(points, dtype=np.float64) @ similarity[:, :2].T + similarity[:, 2])


def scale_of(similarity: Similarity) -> float:
    """How much longer distances become."""
    return math.hypot(similarity[0, 0], similarity[1, 0])
