"""Arithmetic on boxes, given as arrays n×4 of (x0, y0, x1, y1) in pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.floating]
"""float, n×4: x0, y0, x1, y1 in pixels. A box with x1 ≤ x0 or y1 ≤ y0 is empty: its area is 0."""


def areas(boxes: Boxes) -> npt.NDArray[np.floating]:
    """Area of each box in square pixels: float, n."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def intersection_matrix(boxes: Boxes, others: Boxes) -> npt.NDArray[np.floating]:
    """Area that each box shares with each other one in square pixels: float, n×m."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou_matrix(boxes: Boxes, others: Boxes) -> npt.NDArray[np.floating]:
    """Intersection over union of each box with each other one: float, n×m, 0…1; 0 where both are empty."""
    intersection = intersection_matrix(boxes, others)
    union = areas(boxes)[:, None] + areas(others)[None, :] - intersection
    # Rounding can make an intersection slightly larger than its union.
    iou = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return np.asarray(np.minimum(iou, 1))


def clip_boxes(boxes: Boxes, *, width: float, height: float) -> Boxes:
    """Boxes clipped to a picture, as a new array; a box wholly outside becomes empty."""
    return np.asarray(np.clip(boxes, 0, np.array([width, height, width, height], dtype=boxes.dtype)))


def non_maximum_suppression(
    boxes: Boxes, scores: npt.NDArray[np.floating], *, max_iou: float, max_boxes: int | None = None
) -> npt.NDArray[np.intp]:
    """Non-maximum suppression: drop each box that overlaps a better kept one by more than `max_iou`.

    Deterministic: of equal scores the earlier box wins.

    Args:
        boxes: float, n×4.
        scores: float, n.
        max_iou: largest overlap of two kept boxes.
        max_boxes: largest number of kept boxes; None means no limit.

    Returns:
        Indices of the kept boxes, best score first.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou_matrix(boxes[order], boxes[order]) > max_iou
    is_suppressed = np.zeros(len(order), dtype=bool)
    kept: list[int] = []
    for index in range(len(order)):
        if is_suppressed[index]:
            continue
        kept.append(index)
        if len(kept) == max_boxes:
            break
        is_suppressed |= overlaps[index]
    return np.asarray(order[kept], dtype=np.intp)
