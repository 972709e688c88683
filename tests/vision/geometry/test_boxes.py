"""Box arithmetic: known answers, and the laws that hold for any boxes."""

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.vision.geometry.boxes import areas, clip_boxes, iou_matrix, non_maximum_suppression

Array = npt.NDArray[np.float64]


def boxes_of(corners: Array) -> Array:
    """Any two corners → a proper box of at least one pixel."""
    low = np.minimum(corners[:, :2], corners[:, 2:])
    high = np.maximum(corners[:, :2], corners[:, 2:])
    return np.concatenate([low, high + 1], axis=1)


any_boxes = st.integers(0, 12).flatmap(
    lambda n: hnp.arrays(np.float64, (n, 4), elements=st.floats(-500, 500, width=32)).map(boxes_of)
)
some_scores = st.lists(st.floats(0, 1), min_size=12, max_size=12).map(np.array)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0.0),
        ((0, 0, 4, 4), (1, 1, 2, 2), 1 / 16),
        ((3, 3, 3, 3), (3, 3, 3, 3), 0.0),
    ],
    ids=["same", "shifted by half", "touching", "inside", "both empty"],
)
def test_iou_of_known_boxes(a: tuple[float, ...], b: tuple[float, ...], expected: float) -> None:
    assert iou_matrix(np.array([a], float), np.array([b], float))[0, 0] == pytest.approx(expected)


@given(any_boxes, any_boxes)
def test_iou_is_symmetric_and_bounded(boxes: Array, others: Array) -> None:
    iou = iou_matrix(boxes, others)
    assert iou.shape == (len(boxes), len(others))
    assert ((iou >= 0) & (iou <= 1)).all()
    np.testing.assert_allclose(iou, iou_matrix(others, boxes).T)


@given(any_boxes)
def test_iou_with_itself_is_one(boxes: Array) -> None:
    np.testing.assert_allclose(np.diag(iou_matrix(boxes, boxes)), 1)


@given(any_boxes, st.floats(1, 400), st.floats(1, 400))
def test_clip_stays_inside_shrinks_and_is_idempotent(boxes: Array, width: float, height: float) -> None:
    clipped = clip_boxes(boxes, width=width, height=height)
    assert ((clipped >= 0) & (clipped <= [width, height, width, height])).all()
    assert (areas(clipped) <= areas(boxes)).all()
    np.testing.assert_array_equal(clip_boxes(clipped, width=width, height=height), clipped)


def test_nms_keeps_the_best_of_each_group() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 1, 10, 11]], float)
    scores = np.array([0.7, 0.9, 0.8, 0.6])
    assert non_maximum_suppression(boxes, scores, max_iou=0.3).tolist() == [1, 2]
    assert non_maximum_suppression(boxes, scores, max_iou=0.3, max_boxes=1).tolist() == [1]


@given(any_boxes, some_scores, st.floats(0.05, 0.95))
def test_nms_is_idempotent_sorted_and_leaves_no_overlap(boxes: Array, scores: Array, max_iou: float) -> None:
    scores = scores[: len(boxes)]
    kept = non_maximum_suppression(boxes, scores, max_iou=max_iou)
    assert (np.diff(scores[kept]) <= 0).all()
    overlaps = iou_matrix(boxes[kept], boxes[kept])
    np.fill_diagonal(overlaps, 0)
    assert (overlaps <= max_iou).all()
    again = non_maximum_suppression(boxes[kept], scores[kept], max_iou=max_iou)
    assert again.tolist() == list(range(len(kept)))


@given(any_boxes, some_scores, st.floats(0.05, 0.95))
def test_nms_drops_a_box_only_for_a_better_one(boxes: Array, scores: Array, max_iou: float) -> None:
    scores = scores[: len(boxes)]
    kept = non_maximum_suppression(boxes, scores, max_iou=max_iou)
    for dropped in set(range(len(boxes))) - set(kept.tolist()):
        better = kept[scores[kept] >= scores[dropped]]
        assert (iou_matrix(boxes[[dropped]], boxes[better]) > max_iou).any()
