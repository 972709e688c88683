"""Similarity transforms of the plane (rotation, scale, translation), estimated from points."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Similarity = npt.NDArray[np.float64]
"""float, 2×3: [[a, −b, x], [b, a, y]], applied to column vectors (x, y, 1). Leading axes hold several transforms."""

Plane = npt.NDArray[np.complex128]
"""Points of the plane as complex numbers x + y·i."""


class PlaneSimilarity(NamedTuple):
    """Similarity transforms of points written as complex numbers: z becomes factor · z + shift.

    Rotation and scale are one complex number, which replaces matrix products by multiplications.

    Attributes:
        factor: complex, rotation and scale of each transform.
        shift: complex, translation of each transform.
    """

    factor: Plane
    shift: Plane


def plane_from_points(points: npt.ArrayLike) -> Plane:
    """Points …×2 → complex numbers x + y·i, shape …"""
    pairs = np.ascontiguousarray(points, dtype=np.float64)
    return pairs.view(np.complex128)[..., 0]


def fit_plane_similarity(source: Plane, target: Plane, *, weights: npt.NDArray[np.float64]) -> PlaneSimilarity:
    """Fit transforms from `source` to `target` by weighted least squares (Umeyama 1991, in the plane).

    Points that all coincide have no size; they give a translation only, with factor 1.

    Args:
        source: n×points.
        target: the target of each point, same shape.
        weights: weight of each point, same shape; their sum over the points must not be 0.
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
    """Fit the similarity transform without reflection from `source` to `target` by least squares (Umeyama 1991).

    Points that all coincide have no size; they give a translation only, with scale 1.

    Args:
        source: …×n×2 points; leading axes are independent problems.
        target: the target of each point, same shape.
        weights: …×n weights; None means equal weights. Their sum must not be 0.

    Returns:
        float64, …×2×3.
    """
    sources, targets = plane_from_points(source), plane_from_points(target)
    shares = np.ones(sources.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    return matrices_from(fit_plane_similarity(sources, targets, weights=shares))


def matrices_from(similarity: PlaneSimilarity) -> Similarity:
    """The transforms as matrices, …×2×3."""
    a, b = similarity.factor.real, similarity.factor.imag
    x, y = similarity.shift.real, similarity.shift.imag
    return np.stack([np.stack([a, -b, x], axis=-1), np.stack([b, a, y], axis=-1)], axis=-2)


def inverse_similarity(similarity: Similarity) -> Similarity:
    """The inverse transform."""
    (a, _, x), (b, _, y) = similarity.tolist()
    squared = a * a + b * b
    a, b = a / squared, b / squared
    return np.array([[a, b, -a * x - b * y], [-b, a, b * x - a * y]])


def transform_points(similarity: Similarity, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Transform points: …×n×2 → …×n×2."""
    linear = np.swapaxes(similarity[..., :2], -1, -2)
    return np.asarray(np.asarray(points, dtype=np.float64) @ linear + similarity[..., None, :, 2])


def scale_of(similarity: Similarity) -> float:
    """The scale factor of a transform."""
    return math.hypot(similarity[0, 0], similarity[1, 0])
