"""Pure: similarity transforms of the plane (turn, scale, shift), estimated from points."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Similarity = npt.NDArray[np.float64]
"""float, 2×3: [[a, −b, x], [b, a, y]], applied to column vectors (x, y, 1). Axes in front hold several."""

Plane = npt.NDArray[np.complex128]
"""Points of the plane, each a complex number x + y·i."""


class PlaneSimilarity(NamedTuple):
    """Similarity transforms of points written as complex numbers x + y·i: z becomes factor · z + shift.

    Turn and scale are one complex number, so what needs matrices for points in rows is a multiplication here.

    Attributes:
        factor, shift: complex, one of each per transform.
    """

    factor: Plane
    shift: Plane


def plane_from_points(points: npt.ArrayLike) -> Plane:
    """Points …×2 → complex numbers …, x + y·i."""
    pairs = np.ascontiguousarray(points, dtype=np.float64)
    return pairs.view(np.complex128)[..., 0]


def fit_plane_similarity(source: Plane, target: Plane, *, weights: npt.NDArray[np.float64]) -> PlaneSimilarity:
    """The transforms that bring `source` closest to `target` by least squares (Umeyama, 1991, in the plane).

    Points that all coincide have no size; the shift alone is returned for them, with factor 1.

    Args:
        source: n×points.
        target: where each should go, of the same shape.
        weights: of the same shape, how much each counts; their sum over the points must not be 0.
    """
    shares = weights / weights.sum(axis=-1, keepdims=True)
    source_mean = (shares * source).sum(axis=-1)
    target_mean = (shares * target).sum(axis=-1)
    wanted = shares * (source - source_mean[..., None]).conj()
    spread = (wanted * source).sum(axis=-1).real
    has_size = spread > 0
    products = (wanted * target).sum(axis=-1)
    factor = np.where(has_size, products / np.where(has_size, spread, 1.0), 1.0)
    return PlaneSimilarity(factor, target_mean - factor * source_mean)


def similarity_from_points(
    source: npt.ArrayLike, target: npt.ArrayLike, *, weights: npt.ArrayLike | None = None
) -> Similarity:
    """The similarity transform (no mirroring) that brings `source` closest to `target` by least squares.

    Points that all coincide have no size; the shift alone is returned for them, with scale 1.

    Args:
        source: …×n×2 points; axes in front are problems solved side by side.
        target: where each should go, of the same shape.
        weights: …×n, how much each counts; None counts all alike. Their sum must not be 0.
    """
    sources, targets = plane_from_points(source), plane_from_points(target)
    shares = np.ones(sources.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    return matrices_from(fit_plane_similarity(sources, targets, weights=shares))


def matrices_from(similarity: PlaneSimilarity) -> Similarity:
    """The same transforms as matrices …×2×3."""
    a, b = similarity.factor.real, similarity.factor.imag
    x, y = similarity.shift.real, similarity.shift.imag
    return np.stack([np.stack([a, -b, x], axis=-1), np.stack([b, a, y], axis=-1)], axis=-2)


def inverse_similarity(similarity: Similarity) -> Similarity:
    """The transform back."""
    (a, _, x), (b, _, y) = similarity.tolist()
    squared = a * a + b * b
    a, b = a / squared, b / squared
    return np.array([[a, b, -a * x - b * y], [-b, a, b * x - a * y]])


def transform_points(similarity: Similarity, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Points …×n×2 → transformed points …×n×2."""
    linear = np.swapaxes(similarity[..., :2], -1, -2)
    return np.asarray(np.asarray(points, dtype=np.float64) @ linear + similarity[..., None, :, 2])


def scale_of(similarity: Similarity) -> float:
    """How much longer distances become."""
    return math.hypot(similarity[0, 0], similarity[1, 0])
