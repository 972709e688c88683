"""Similarity transforms obey their laws."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emostream.vision.geometry.similarity import inverse_similarity, scale_of, similarity_from_points, transform_points

Points = npt.NDArray[np.float64]

five_points = hnp.arrays(np.float64, (5, 2), elements=st.floats(-1000, 1000, width=32))


@st.composite
def similarities(draw: st.DrawFn) -> Points:
    """Any turn, scale and shift a face could need."""
    angle, scale = draw(st.floats(-np.pi, np.pi)), draw(st.floats(0.05, 20))
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[a, -b, draw(st.floats(-500, 500))], [b, a, draw(st.floats(-500, 500))]])


@given(similarities(), five_points)
def test_exact_similarity_is_recovered(similarity: Points, points: Points) -> None:
    assume(np.ptp(points, axis=0).max() > 1)
    found = similarity_from_points(points, transform_points(similarity, points))
    np.testing.assert_allclose(
        transform_points(found, points), transform_points(similarity, points), rtol=1e-6, atol=1e-4
    )


@given(similarities(), five_points)
def test_transform_and_its_inverse_cancel(similarity: Points, points: Points) -> None:
    there = transform_points(similarity, points)
    back = transform_points(inverse_similarity(similarity), there)
    np.testing.assert_allclose(back, points, rtol=1e-6, atol=1e-6)


@given(five_points, five_points, similarities())
def test_no_similarity_fits_better(source: Points, target: Points, other: Points) -> None:
    fitted = similarity_from_points(source, target)

    def error(similarity: Points) -> float:
        return float(((transform_points(similarity, source) - target) ** 2).sum())

    assert error(fitted) <= error(other) * (1 + 1e-6) + 1e-6


def test_points_in_one_place_give_a_shift() -> None:
    fitted = similarity_from_points(np.ones((5, 2)), np.full((5, 2), [4, 3]))
    np.testing.assert_allclose(fitted, [[1, 0, 3], [0, 1, 2]])


@given(similarities(), five_points)
def test_scale_is_the_ratio_of_distances(similarity: Points, points: Points) -> None:
    moved = transform_points(similarity, points)
    before, after = np.linalg.norm(points[0] - points[1]), np.linalg.norm(moved[0] - moved[1])
    assert after == pytest.approx(scale_of(similarity) * before, rel=1e-6, abs=1e-6)
