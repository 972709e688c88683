"""No other pairs are cheaper: compared with trying all of them. Place and looks decide who is who."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.track.association import associate, cheapest_pairs
from emostream.vision.track.motion import motion_from_box


@st.composite
def cost_tables(draw: st.DrawFn) -> list[list[float]]:
    num_rows, num_columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    cost = st.integers(0, 8).map(float) | st.floats(-100, 100) | st.just(1e6)
    return draw(
        st.lists(st.lists(cost, min_size=num_columns, max_size=num_columns), min_size=num_rows, max_size=num_rows)
    )


def least_total(costs: list[list[float]]) -> float:
    if len(costs) > len(costs[0]):
        costs = [list(column) for column in zip(*costs, strict=True)]
    choices = itertools.permutations(range(len(costs[0])), len(costs))
    return min(sum(row[column] for row, column in zip(costs, choice, strict=True)) for choice in choices)


@given(cost_tables())
def test_nothing_is_cheaper(costs: list[list[float]]) -> None:
    pairs = cheapest_pairs(costs)
    assert len(pairs) == min(len(costs), len(costs[0]))
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert sum(costs[row][column] for row, column in pairs) == pytest.approx(least_total(costs), abs=1e-6)


def test_a_newcomer_may_push_others_aside() -> None:
    assert cheapest_pairs([[1.0, 2.0, 9.0], [1.0, 9.0, 9.0], [9.0, 2.0, 3.0]]) == [(0, 1), (1, 0), (2, 2)]


def test_nothing_to_pair() -> None:
    assert cheapest_pairs([]) == []
    assert cheapest_pairs([[], []]) == []


def test_a_crowd_is_no_trouble() -> None:
    costs = [[abs(row - column) + 0.1 * ((row * column) % 7) for column in range(64)] for row in range(60)]
    pairs = cheapest_pairs(costs)
    assert [row for row, _ in pairs] == list(range(60))


@pytest.mark.parametrize(("gap_seconds", "pairs"), [(0.04, [(0, 0), (1, 1)]), (1.0, [(0, 1), (1, 0)])])
def test_the_longer_since_the_last_frame_the_more_looks_decide(
    gap_seconds: float, pairs: list[tuple[int, int]]
) -> None:
    """Two faces beside each other, each nearest to the place where the other one is expected."""
    boxes = np.array([[100.0, 100, 140, 140], [120, 100, 160, 140]])
    predicted = [motion_from_box(box, at_seconds=0.0) for box in boxes]

    def look_distance(prediction: int, box: int) -> float:
        return 0.45 if prediction == box else 0.1

    found = associate(predicted, boxes, min_iou=0.2, gap_seconds=gap_seconds, look_distance=look_distance)
    assert found == pairs
