"""Pure: pairs of rows and columns with the least total cost."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cheapest_pairs(costs: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """One column for each row (one row for each column, where there are fewer of them), with the least sum of costs.

    Shortest augmenting paths over dual prices (Kuhn, 1955; Jonker and Volgenant, 1987): rows come in one by one, and
    each may push others to another column. In plain Python, because a picture has a few faces, for which arrays cost
    more than they save, and the package that has this function costs 50 MB of memory.

    Args:
        costs: rows of equal length, finite numbers.

    Returns:
        Pairs (row, column) in order of rows; as many as the shorter side has.
    """
    if not costs or not costs[0]:
        return []
    if len(costs) > len(costs[0]):
        columns = list(zip(*costs, strict=True))
        return sorted((row, column) for column, row in cheapest_pairs(columns))
    num_columns = len(costs[0])
    row_prices = [0.0] * len(costs)
    column_prices = [0.0] * num_columns
    row_of = [-1] * num_columns
    for row in range(len(costs)):
        _let_in(row, costs, row_prices, column_prices, row_of)
    return sorted((row, column) for column, row in enumerate(row_of) if row >= 0)


def _let_in(
    newcomer: int,
    costs: Sequence[Sequence[float]],
    row_prices: list[float],
    column_prices: list[float],
    row_of: list[int],
) -> None:
    """Give the newcomer a column, along the cheapest path of changes; updates the last three."""
    num_columns = len(row_of)
    distances = [math.inf] * num_columns
    came_from = [-1] * num_columns
    visited: list[int] = []
    unvisited = set(range(num_columns))
    row, at, reached = newcomer, -1, 0.0
    while row >= 0:
        price = row_prices[row]
        for column in unvisited:
            distance = reached + costs[row][column] - price - column_prices[column]
            if distance < distances[column]:
                distances[column], came_from[column] = distance, at
        at = min(unvisited, key=distances.__getitem__)
        reached = distances[at]
        unvisited.remove(at)
        visited.append(at)
        row = row_of[at]
    row_prices[newcomer] += reached
    for column in visited[:-1]:
        row_prices[row_of[column]] += reached - distances[column]
        column_prices[column] -= reached - distances[column]
    while at >= 0:
        before = came_from[at]
        row_of[at] = newcomer if before < 0 else row_of[before]
        at = before
