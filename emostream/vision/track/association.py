"""Matches detected boxes to predicted ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.track.motion import BoxMotion


def cheapest_pairs(costs: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Solve the linear assignment problem: pairs of rows and columns with the least sum of costs.

    Shortest augmenting paths with dual prices (Kuhn 1955; Jonker and Volgenant 1987). In plain Python, because a frame
    has only a few faces, for which arrays are slower, and SciPy would add 50 MB of memory.

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
    """Assign a column to the new row along the cheapest augmenting path; updates the last three arguments."""
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


# Overlap matters most; distance decides between boxes that do not overlap; size separates near and far faces.
_DISTANCE_WEIGHT = 0.5
_SIZE_WEIGHT = 0.5
_MISSED_WEIGHT = 0.3
_LOOK_WEIGHT = 1.0
# Added for each second between frames, up to one: where somebody will be is then hardly known. At one picture a second
# people keep their ids over crossings better (IDF1 of the 14 clips, three starts each: 0.71 → 0.84; 3 gives 0.85); at 5
# nothing changes.
_LOOK_WEIGHT_GROWTH = 2.0
# A box may be this many standard deviations from its prediction, but not further than this many sizes, plus one for
# each second between frames, in which people can walk out of one place and into another.
_MAX_DEVIATIONS = 2.5
_MAX_DISTANCE_SIZES = 1.5
_MAX_FURTHER_SIZES = 1.0
_MAX_LOG_SIZE_RATIO = np.log(2.0)
_FORBIDDEN = 1e6


def associate(
    predicted: Sequence[BoxMotion],
    boxes: npt.NDArray[np.float64],
    *,
    min_iou: float,
    is_missed: Sequence[bool] = (),
    gap_seconds: float = 0.0,
    last_seen: Sequence[BoxMotion] = (),
    look_distance: Callable[[int, int], float] | None = None,
) -> list[tuple[int, int]]:
    """Match boxes to predictions with the least total cost.

    A pair is possible when the boxes overlap by `min_iou`, or when the box is within reach of the predicted motion and
    has about the same size.

    Args:
        predicted: the predicted motions.
        boxes: float64, n×4, the detected boxes.
        min_iou: see above.
        is_missed: for each prediction, whether the last search missed the face; none by default. Of two faces in the
            same place the front one is found, which is rarely the one that was missed.
        gap_seconds: time between the two frames.
        last_seen: for each prediction, where the face was in the last frame; given after a pause only, because
            recorders leave out what does not change.
        look_distance: how unlike the face of a prediction (first index) a detected face (second index) looks; infinite
            for another person, who cannot be matched. Asked for possible pairs only.

    Returns:
        Pairs (index of a prediction, index of a box); each index at most once.
    """
    if not predicted or len(boxes) == 0:
        return []
    deviations = np.array([motion.position_deviation for motion in predicted])
    furthest = _MAX_DISTANCE_SIZES + min(gap_seconds, _MAX_FURTHER_SIZES)
    reach = np.minimum(_MAX_DEVIATIONS * deviations, furthest)
    is_possible, cost = _costs(predicted, boxes, min_iou=min_iou, reach=reach)
    if last_seen:
        is_near, cost_of_staying = _costs(last_seen, boxes, min_iou=min_iou, reach=np.zeros(len(last_seen)))
        cost = np.where(is_near, np.minimum(cost, cost_of_staying), cost)
        is_possible |= is_near
    if any(is_missed):
        cost += _MISSED_WEIGHT * np.array(is_missed, dtype=np.float64)[:, None]
    if look_distance is not None:
        look_weight = _LOOK_WEIGHT + _LOOK_WEIGHT_GROWTH * min(gap_seconds, 1.0)
        for row, column in np.argwhere(is_possible).tolist():
            distance = look_distance(row, column)
            is_possible[row, column] = math.isfinite(distance)
            cost[row, column] += look_weight * distance
    pairs = cheapest_pairs(np.where(is_possible, cost, _FORBIDDEN).tolist())
    return [(row, column) for row, column in pairs if is_possible[row, column]]


def _costs(
    expected: Sequence[BoxMotion], boxes: npt.NDArray[np.float64], *, min_iou: float, reach: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Which pairs are possible, and what each costs; rows are expected boxes, `reach` is in their sizes."""
    places = np.stack([motion.box_xyxy for motion in expected])
    iou = iou_matrix(places, boxes)
    sizes = np.array([motion.size for motion in expected])
    distance = np.linalg.norm(_centres(places)[:, None] - _centres(boxes)[None], axis=2) / sizes[:, None]
    log_size_ratio = np.abs(np.log(_sizes(boxes)[None] / sizes[:, None]))
    is_possible = (iou >= min_iou) | ((distance <= reach[:, None]) & (log_size_ratio <= _MAX_LOG_SIZE_RATIO))
    return is_possible, (1 - iou) + _DISTANCE_WEIGHT * distance + _SIZE_WEIGHT * log_size_ratio


def _centres(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _sizes(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).mean(axis=1))
