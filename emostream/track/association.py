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
_MISSED_WEIGHT = 0.3
# A box may lie this many standard deviations from its prediction, but never further than this many sizes, and one more
# for each second between frames: people pass whole places in it.
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
) -> list[tuple[int, int]]:
    """Pairs (index of a prediction, index of a box) with the least total cost; each index at most once.

    A pair is possible when the boxes overlap by `min_iou`, or when the box lies where the motion may have carried it
    and has about the same size.

    Args:
        predicted: where faces are expected.
        boxes: where some were found.
        min_iou: as above.
        is_missed: for each prediction, whether the last search missed the face; none by default. Of two faces in one
            place, the one in front is found, and it is seldom the one that was missed.
        gap_seconds: between the frames that are looked at.
    """
    if not predicted or len(boxes) == 0:
        return []
    expected = np.stack([motion.box_xyxy for motion in predicted])
    iou = iou_matrix(expected, boxes)
    sizes = np.array([motion.size for motion in predicted])
    distance = np.linalg.norm(_centres(expected)[:, None] - _centres(boxes)[None], axis=2) / sizes[:, None]
    log_size_ratio = np.abs(np.log(_sizes(boxes)[None] / sizes[:, None]))

    deviations = np.array([motion.position_deviation for motion in predicted])
    furthest = _MAX_DISTANCE_SIZES + min(gap_seconds, _MAX_FURTHER_SIZES)
    reach = np.minimum(_MAX_DEVIATIONS * deviations, furthest)[:, None]
    is_possible = (iou >= min_iou) | ((distance <= reach) & (log_size_ratio <= _MAX_LOG_SIZE_RATIO))
    cost = (1 - iou) + _DISTANCE_WEIGHT * distance + _SIZE_WEIGHT * log_size_ratio
    if any(is_missed):
        cost += _MISSED_WEIGHT * np.array(is_missed, dtype=np.float64)[:, None]
    pairs = cheapest_pairs(np.where(is_possible, cost, _FORBIDDEN).tolist())
    return [(row, column) for row, column in pairs if is_possible[row, column]]


def _centres(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _sizes(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).mean(axis=1))
