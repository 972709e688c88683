"""Pure: which detected box belongs to which predicted one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emostream.boxes import iou_matrix
from emostream.track.assignment import cheapest_pairs
from emostream.track.motion import BoxMotion

# Overlap says most; distance decides among boxes that do not overlap; size keeps near and far faces apart.
_DISTANCE_WEIGHT = 0.5
_SIZE_WEIGHT = 0.5
# A box may lie this many standard deviations from its prediction, but never further than this many sizes.
_MAX_DEVIATIONS = 2.5
_MAX_DISTANCE_SIZES = 1.5
_MAX_LOG_SIZE_RATIO = np.log(2.0)
_FORBIDDEN = 1e6


def associate(
    predicted: Sequence[BoxMotion], boxes: npt.NDArray[np.float64], *, min_iou: float
) -> list[tuple[int, int]]:
    """Pairs (index of a prediction, index of a box) with the least total cost; each index at most once.

    A pair is possible when the boxes overlap by `min_iou`, or when the box lies where the motion may have carried it
    and has about the same size.
    """
    if not predicted or len(boxes) == 0:
        return []
    expected = np.stack([motion.box_xyxy for motion in predicted])
    iou = iou_matrix(expected, boxes)
    sizes = np.array([motion.size for motion in predicted])
    distance = np.linalg.norm(_centres(expected)[:, None] - _centres(boxes)[None], axis=2) / sizes[:, None]
    log_size_ratio = np.abs(np.log(_sizes(boxes)[None] / sizes[:, None]))

    deviations = np.array([motion.position_deviation for motion in predicted])
    reach = np.minimum(_MAX_DEVIATIONS * deviations, _MAX_DISTANCE_SIZES)[:, None]
    is_possible = (iou >= min_iou) | ((distance <= reach) & (log_size_ratio <= _MAX_LOG_SIZE_RATIO))
    cost = (1 - iou) + _DISTANCE_WEIGHT * distance + _SIZE_WEIGHT * log_size_ratio
    pairs = cheapest_pairs(np.where(is_possible, cost, _FORBIDDEN).tolist())
    return [(row, column) for row, column in pairs if is_possible[row, column]]


def _centres(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _sizes(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).mean(axis=1))
