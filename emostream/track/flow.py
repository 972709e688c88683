"""Pure: a face from one frame to the next, by optical flow in a window of its own.

Each face is looked at in a small square patch in which it has always the same size, so the cost and the accuracy do not
depend on the size of the frame or of the face. Points on a grid over the face are followed by pyramidal Lucas–Kanade
flow (Bouguet, 2000), those that do not return when followed back are dropped (forward–backward check, Kalal et al.,
2010), and box and landmarks move by the similarity transform that fits the rest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.face import Face
from emostream.frame import Luma
from emostream.halving import halved
from emostream.similarity import Similarity, scale_of, similarity_from_points, transform_points

PATCH_SIDE_PIXELS = 64
_WINDOW_PER_FACE = 1.8  # so a face is 36 pixels high in its patch, and may move by almost half its size
_MAX_SHIFT_PER_FACE = 0.15  # a face further than this from the middle of its window gets a new one
_MAX_GROWTH = 1.15

# Four by four points that keep clear of the background at the corners of the box, in units of its sides.
_GRID_IN_BOX = np.stack(np.meshgrid(*2 * [np.linspace(0.12, 0.88, 4)]), axis=-1).reshape(-1, 2)

# Larger windows, more levels or points cost more and agree no better with the detector.
_FLOW_WINDOW_PIXELS = (9, 9)
_FLOW_LEVELS = 2
_FLOW_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_MAX_RETURN_PIXELS = 0.6  # in the patch, where eyes are about 14 pixels apart
_MIN_GOOD_SHARE = 0.5
_MAX_SCALE_PER_FRAME = 1.25
_OUTLIER_FACTOR = 2.0
_OUTLIER_FLOOR_PIXELS = 0.2

Points = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A square part of the frame, in whole pixels; may reach over its border."""

    left: int
    top: int
    side: int

    def fits(self, face: Face) -> bool:
        """Whether the face is still near the middle and of the right size."""
        x, y = _centre(face)
        half = self.side / 2
        size = self.side / _WINDOW_PER_FACE
        shift = max(abs(x - self.left - half), abs(y - self.top - half))
        growth = _size(face) / size
        return shift <= _MAX_SHIFT_PER_FACE * size and 1 / _MAX_GROWTH <= growth <= _MAX_GROWTH


@dataclass(frozen=True, slots=True, eq=False)
class FacePatch:
    """A face and what its window showed in the same frame: all that following it needs to remember."""

    face: Face
    window: Window
    pixels: Luma


def patch_of(luma: Luma, face: Face, *, window: Window | None = None) -> FacePatch:
    """Remember a face; in this window while it fits, else in a new one around the face."""
    if window is None or not window.fits(face):
        side = max(round(_size(face) * _WINDOW_PER_FACE), 2)
        # A window wholly outside the frame would show nothing.
        x, y = np.clip(_centre(face), 0, (luma.shape[1], luma.shape[0]))
        window = Window(round(x - side / 2), round(y - side / 2), side)
    return FacePatch(face, window, cut_window(luma, window))


def follow_faces(previous: Sequence[FacePatch], luma: Luma) -> list[FacePatch | None]:
    """Each face in the next frame, or None where its flow cannot be trusted."""
    if not previous:
        return []
    before = np.concatenate([patch.pixels for patch in previous])
    after = np.concatenate([cut_window(luma, patch.window) for patch in previous])
    similarities, is_good = _similarities_by_flow(before, after, _grids_over(previous))
    pixels = after.reshape(-1, PATCH_SIDE_PIXELS, PATCH_SIDE_PIXELS)
    return [
        _patch_after(patch, similarity, luma=luma, pixels=now) if good else None
        for patch, similarity, now, good in zip(previous, similarities, pixels, is_good.tolist(), strict=True)
    ]


def _patch_after(previous: FacePatch, similarity: Similarity, *, luma: Luma, pixels: Luma) -> FacePatch | None:
    face = _moved(previous.face, _in_frame(similarity, previous.window))
    x, y = _centre(face)
    if not (0 <= x < luma.shape[1] and 0 <= y < luma.shape[0]):
        return None  # it left the picture
    if previous.window.fits(face):
        return FacePatch(face, previous.window, pixels)
    return patch_of(luma, face)


def cut_window(luma: Luma, window: Window) -> Luma:
    """The patch a window shows: uint8, PATCH_SIDE×PATCH_SIDE; outside the frame its border is repeated."""
    height, width = luma.shape
    left, top, right, bottom = window.left, window.top, window.left + window.side, window.top + window.side
    inside = luma[max(top, 0) : max(bottom, 1), max(left, 0) : max(right, 1)]
    missing = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    part = cv2.copyMakeBorder(inside, *missing, borderType=cv2.BORDER_REPLICATE) if any(missing) else inside
    # Bilinear sampling must not skip pixels of a large face.
    part = halved(np.asarray(part, dtype=np.uint8), times=max(int(math.log2(window.side / PATCH_SIDE_PIXELS)), 0))
    size = (PATCH_SIDE_PIXELS, PATCH_SIDE_PIXELS)
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _grids_over(patches: Sequence[FacePatch]) -> Points:
    """Points over each face, n×points×2, in pixels of its own patch."""
    boxes = np.array([patch.face.box_xyxy for patch in patches])
    corners = np.array([(patch.window.left, patch.window.top) for patch in patches])
    scales = PATCH_SIDE_PIXELS / np.array([patch.window.side for patch in patches])
    corner, side = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    points = (corner + _GRID_IN_BOX * side - corners[:, None]) * scales[:, None, None]
    return np.asarray(points, dtype=np.float32)


def _similarities_by_flow(before: Luma, after: Luma, points: Points) -> tuple[Similarity, npt.NDArray[np.bool_]]:
    """The movement of each face's points, n×2×3 in pixels of its patch, and whether it can be trusted.

    The patches stand below each other in one picture, so that one call follows the points of all of them.
    """
    tops = np.zeros((len(points), 1, 2), dtype=np.float32)
    tops[:, 0, 1] = PATCH_SIDE_PIXELS * np.arange(len(points))
    start = (points + tops).reshape(-1, 2)
    end, is_found = _flow(before, after, start)
    returned, is_returned = _flow(after, before, end)
    is_steady = np.abs(returned - start).max(axis=1) < _MAX_RETURN_PIXELS
    is_point_good = (is_found & is_returned & is_steady).reshape(points.shape[:2])
    is_good = is_point_good.mean(axis=1) >= _MIN_GOOD_SHARE

    moved = end.reshape(points.shape) - tops
    weights = np.where(is_good[:, None], is_point_good, 1.0)
    similarities = _robust_similarities(points, moved, weights)
    scales = np.hypot(similarities[:, 0, 0], similarities[:, 1, 0])
    return similarities, is_good & (scales <= _MAX_SCALE_PER_FRAME) & (scales >= 1 / _MAX_SCALE_PER_FRAME)


def _flow(before: Luma, after: Luma, points: Points) -> tuple[Points, npt.NDArray[np.bool_]]:
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points,
        None,  # type: ignore[call-overload]
        winSize=_FLOW_WINDOW_PIXELS,
        maxLevel=_FLOW_LEVELS,
        criteria=_FLOW_CRITERIA,
    )
    return np.asarray(moved, dtype=np.float32), np.asarray(status)[:, 0] == 1


def _robust_similarities(source: Points, target: Points, weights: npt.NDArray[np.float64]) -> Similarity:
    """Least squares, then once more without the points that fit badly."""
    similarities = similarity_from_points(source, target, weights=weights)
    residuals = np.linalg.norm(transform_points(similarities, source) - target, axis=-1)
    usual = np.average(residuals, axis=1, weights=weights)[:, None]
    is_inlier = residuals <= _OUTLIER_FACTOR * usual + _OUTLIER_FLOOR_PIXELS
    if is_inlier.all():
        return similarities
    return similarity_from_points(source, target, weights=weights * is_inlier)


def _in_frame(similarity: Similarity, window: Window) -> Similarity:
    """A movement in patch pixels → the same movement in frame pixels."""
    scale = window.side / PATCH_SIDE_PIXELS
    linear = similarity[:, :2]
    corner = np.array([window.left, window.top], dtype=np.float64)
    return np.column_stack([linear, scale * similarity[:, 2] + corner - linear @ corner])


def _moved(face: Face, similarity: Similarity) -> Face:
    """The face after a movement; its box stays upright."""
    ((x, y),) = transform_points(similarity, [_centre(face)]).tolist()
    scale = scale_of(similarity)
    half_width, half_height = scale * face.width / 2, scale * face.height / 2
    return dataclasses.replace(
        face,
        box_xyxy=(x - half_width, y - half_height, x + half_width, y + half_height),
        landmarks=tuple((px, py) for px, py in transform_points(similarity, face.landmarks).tolist()),
        found_by="flow",
    )


def _centre(face: Face) -> tuple[float, float]:
    x0, y0, x1, y1 = face.box_xyxy
    return (x0 + x1) / 2, (y0 + y1) / 2


def _size(face: Face) -> float:
    return max(face.width, face.height)
