"""Pure: similarity transforms of the plane (turn, scale, shift), estimated from points."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Similarity = npt.NDArray[np.float64]
"""float, 2×3: [[a, −b, x], [b, a, y]], applied to column vectors (x, y, 1). Axes in front hold several."""


def similarity_from_points(
    source: npt.ArrayLike, target: npt.ArrayLike, *, weights: npt.ArrayLike | None = None
) -> Similarity:
    """The similarity transform (no mirroring) that brings `source` closest to `target` by least squares.

    Umeyama (1991) in the plane, where it has a closed form: turn and scale are one complex number. Points that all
    coincide have no size; the shift alone is returned for them, with scale 1.

    Args:
        source: …×n×2 points; axes in front are problems solved side by side.
        target: where each should go, of the same shape.
        weights: …×n, how much each counts; None counts all alike. Their sum must not be 0.
    """
    sources, targets = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    shares = np.ones(sources.shape[:-1]) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = (shares / shares.sum(axis=-1, keepdims=True))[..., None]
    source_mean = (shares * sources).sum(axis=-2)
    target_mean = (shares * targets).sum(axis=-2)
    centred = sources - source_mean[..., None, :]
    wanted = shares * (targets - target_mean[..., None, :])
    spread = (shares * centred * centred).sum(axis=(-2, -1))
    has_size = spread > 0
    spread = np.where(has_size, spread, 1.0)
    a = np.where(has_size, (centred * wanted).sum(axis=(-2, -1)) / spread, 1.0)
    b = (centred[..., 0] * wanted[..., 1] - centred[..., 1] * wanted[..., 0]).sum(axis=-1) / spread
    x = target_mean[..., 0] - a * source_mean[..., 0] + b * source_mean[..., 1]
    y = target_mean[..., 1] - b * source_mean[..., 0] - a * source_mean[..., 1]
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
