"""No other pairs are cheaper: compared with trying all of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.track.association import cheapest_pairs


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
