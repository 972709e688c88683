"""Tracks faces from frame to frame by optical flow, each in a window of its own.

Each face is resampled to a small square patch in which its size is always the same, so cost and accuracy do not depend
on the size of the frame or of the face. Points on a grid over the face are tracked by pyramidal Lucas–Kanade flow
(Bouguet 2000). Points that do not return when tracked back are dropped (forward–backward check, Kalal et al. 2010). Box
and landmarks move by the similarity transform that fits the remaining points.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.geometry.downscale import halved
from emostream.vision.geometry.similarity import Plane, PlaneSimilarity, fit_plane_similarity, plane_from_points

PATCH_SIDE_PIXELS = 64
_WINDOW_PER_FACE = 1.8  # a face is 36 pixels high in its patch and may move by almost half its size
_MAX_SHIFT_PER_FACE = 0.15  # a face further than this from the centre of its window gets a new one
_MAX_GROWTH = 1.15

# 3×3 points that avoid the background at the corners of the box, in units of its sides.
_GRID_IN_BOX = np.stack(np.meshgrid(*2 * [np.linspace(0.12, 0.88, 3)]), axis=-1).reshape(-1, 2)

# Larger windows, more levels, points or iterations take longer and agree no better with the detector.
_FLOW_WINDOW_PIXELS = (9, 9)
_FLOW_LEVELS = 2
_FLOW_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 5, 0.03)
_MAX_RETURN_PIXELS = 0.6  # in the patch, where eyes are about 14 pixels apart
_MIN_GOOD_SHARE = 0.5
_MAX_SCALE_PER_FRAME = 1.25
_OUTLIER_FACTOR = 2.0
_OUTLIER_FLOOR_PIXELS = 0.2

Points = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A square part of the frame in whole pixels; may extend beyond its border."""

    left: int
    top: int
    side: int

    def fits(self, face: Face) -> bool:
        """Whether the face is still near the centre and of the right size."""
        x, y = _centre(face)
        half = self.side / 2
        size = self.side / _WINDOW_PER_FACE
        shift = max(abs(x - self.left - half), abs(y - self.top - half))
        growth = _size(face) / size
        return shift <= _MAX_SHIFT_PER_FACE * size and 1 / _MAX_GROWTH <= growth <= _MAX_GROWTH


@dataclass(frozen=True, slots=True, eq=False)
class FacePatch:
    """A face and the pixels around it: the state needed to track it.

    Attributes:
        face: its position.
        window: the part of the frame that the patch shows.
        pixels: uint8, PATCH_SIDE×PATCH_SIDE, the patch.
        bend: complex, displacement of each point relative to the face's motion since it was detected, in face sizes;
            None where it was detected in this frame.
    """

    face: Face
    window: Window
    pixels: Luma
    bend: Plane | None = None

    @property
    def face_in_pixels(self) -> Face:
        """The face in pixels of the patch."""
        scale = PATCH_SIDE_PIXELS / self.window.side
        left, top = self.window.left, self.window.top
        x0, y0, x1, y1 = self.face.box_xyxy
        box = ((x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale)
        points = tuple(((x - left) * scale, (y - top) * scale) for x, y in self.face.landmarks)
        return dataclasses.replace(self.face, box_xyxy=box, landmarks=points)

    @property
    def drift(self) -> float:
        """Change of the face's shape since it was detected, in face sizes: it grows when a face turns or speaks, not
        when it only moves. Noise of the single steps averages out."""
        return 0.0 if self.bend is None else float(np.abs(self.bend).mean())


def patch_of(luma: Luma, face: Face, *, window: Window | None = None) -> FacePatch:
    """Cut a face's patch, in the given window while the face fits into it, else in a new one."""
    if window is None or not window.fits(face):
        window = _window_around(face, luma, side=max(round(_size(face) * _WINDOW_PER_FACE), 2))
    return FacePatch(face, window, cut_window(luma, window))


def _window_around(face: Face, luma: Luma, *, side: int) -> Window:
    # A window wholly outside the frame would be empty.
    x, y = np.clip(_centre(face), 0, (luma.shape[1], luma.shape[0]))
    return Window(round(x - side / 2), round(y - side / 2), side)


def recut(luma: Luma, face: Face, *, side: int) -> Luma:
    """The pixels around a face in a window of a given side, as in a `FacePatch`."""
    return cut_window(luma, _window_around(face, luma, side=side))


def follow_faces(previous: Sequence[FacePatch], luma: Luma) -> list[FacePatch | None]:
    """Track faces into the next frame.

    Args:
        previous: the faces of the last frame.
        luma: the next frame, uint8, H×W.

    Returns:
        The new patch of each face; None where its flow is not reliable.
    """
    if not previous:
        return []
    # The patches are stacked in one picture, so that one call tracks the points of all faces.
    before = np.concatenate([patch.pixels for patch in previous])
    after = np.empty_like(before)
    parts = [after[top : top + PATCH_SIDE_PIXELS] for top in range(0, len(after), PATCH_SIDE_PIXELS)]
    for patch, part in zip(previous, parts, strict=True):
        cut_window(luma, patch.window, out=part)
    movement, misfits, is_good = _movement_by_flow(before, after, _grids_over(previous))
    faces = _moved([patch.face for patch in previous], _in_frame(movement, [patch.window for patch in previous]))
    bends = misfits * (_WINDOW_PER_FACE / PATCH_SIDE_PIXELS)
    return [
        _patch_after(FacePatch(face, patch.window, part, bend if patch.bend is None else patch.bend + bend), luma)
        if good
        else None
        for patch, face, part, bend, good in zip(previous, faces, parts, bends, is_good.tolist(), strict=True)
    ]


def _patch_after(moved: FacePatch, luma: Luma) -> FacePatch | None:
    """The patch to continue with: in a new window where the face no longer fits, None where it left the picture."""
    x, y = _centre(moved.face)
    if not (0 <= x < luma.shape[1] and 0 <= y < luma.shape[0]):
        return None
    if moved.window.fits(moved.face):
        return moved
    return dataclasses.replace(patch_of(luma, moved.face), bend=moved.bend)


def cut_window(luma: Luma, window: Window, *, out: Luma | None = None) -> Luma:
    """Cut a window out of a frame: uint8, PATCH_SIDE×PATCH_SIDE. Outside the frame, its border is repeated.

    Writes to `out` and returns it when given, else a new array.
    """
    rows, above, below = _inside(window.top, window.side, luma.shape[0])
    columns, before, after = _inside(window.left, window.side, luma.shape[1])
    part = luma[rows, columns]
    if above or below or before or after:
        missing = (above, below, before, after)
        part = np.asarray(cv2.copyMakeBorder(part, *missing, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)
    if window.side >= 2 * PATCH_SIDE_PIXELS:  # bilinear sampling must not skip pixels of a large face
        part = halved(part, times=int(math.log2(window.side / PATCH_SIDE_PIXELS)))
    if out is None:
        out = np.empty((PATCH_SIDE_PIXELS, PATCH_SIDE_PIXELS), dtype=np.uint8)
    cv2.resize(part, (PATCH_SIDE_PIXELS, PATCH_SIDE_PIXELS), dst=out, interpolation=cv2.INTER_LINEAR)
    return out


def _inside(start: int, side: int, limit: int) -> tuple[slice, int, int]:
    """The pixels of a span inside the frame (at least one), and the numbers missing before and after them."""
    first = min(max(start, 0), limit - 1)
    end = max(min(start + side, limit), first + 1)
    before = min(max(-start, 0), side - end + first)
    return slice(first, end), before, side - end + first - before


def _grids_over(patches: Sequence[FacePatch]) -> Points:
    """Grid points over each face: float32, n×points×2, in pixels of its patch."""
    boxes = np.array([patch.face.box_xyxy for patch in patches])
    windows = np.array([(patch.window.left, patch.window.top, patch.window.side) for patch in patches])
    scales = PATCH_SIDE_PIXELS / windows[:, 2, None]
    corner = (boxes[:, :2] - windows[:, :2]) * scales
    sides = (boxes[:, 2:] - boxes[:, :2]) * scales
    return np.asarray(corner[:, None] + _GRID_IN_BOX * sides[:, None], dtype=np.float32)


def _movement_by_flow(
    before: Luma, after: Luma, points: Points
) -> tuple[PlaneSimilarity, Plane, npt.NDArray[np.bool_]]:
    """Motion of each face, residual displacement of its points (both in patch pixels), and whether it is reliable.

    Args:
        before, after: uint8, the stacked patches of two frames.
        points: n×points×2, in pixels of each patch.
    """
    tops = np.zeros((len(points), 1, 2), dtype=np.float32)
    tops[:, 0, 1] = PATCH_SIDE_PIXELS * np.arange(len(points))
    start = (points + tops).reshape(-1, 2)
    end, is_found = _flow(before, after, start)
    returned, is_returned = _flow(after, before, end)
    is_steady = np.abs(returned - start).max(axis=1) < _MAX_RETURN_PIXELS
    is_point_good = (is_found & is_returned & is_steady).reshape(points.shape[:2])
    is_good = is_point_good.sum(axis=1) >= _MIN_GOOD_SHARE * points.shape[1]

    weights = np.where(is_good[:, None], is_point_good, 1.0)
    moved = end.reshape(points.shape) - tops
    movement, misfits = _robust_movement(plane_from_points(points), plane_from_points(moved), weights)
    scales = np.abs(movement.factor)
    return movement, misfits, is_good & (scales <= _MAX_SCALE_PER_FRAME) & (scales >= 1 / _MAX_SCALE_PER_FRAME)


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


def _robust_movement(source: Plane, target: Plane, weights: npt.NDArray[np.float64]) -> tuple[PlaneSimilarity, Plane]:
    """Least squares, refitted without outliers. Returns the fit and the residuals of the first one."""
    fitted = fit_plane_similarity(source, target, weights=weights)
    misfits = weights * (target - fitted.factor[:, None] * source - fitted.shift[:, None])
    residuals = np.abs(misfits)
    usual = (residuals.sum(axis=1) / weights.sum(axis=1))[:, None]
    is_inlier = residuals <= _OUTLIER_FACTOR * usual + _OUTLIER_FLOOR_PIXELS
    if not is_inlier.all():
        fitted = fit_plane_similarity(source, target, weights=weights * is_inlier)
    return fitted, misfits


def _in_frame(movement: PlaneSimilarity, windows: Sequence[Window]) -> PlaneSimilarity:
    """Transforms in patch pixels → the same transforms in frame pixels."""
    corners = np.array([complex(window.left, window.top) for window in windows])
    scales = np.array([window.side / PATCH_SIDE_PIXELS for window in windows])
    return PlaneSimilarity(movement.factor, scales * movement.shift + corners - movement.factor * corners)


def _moved(faces: Sequence[Face], movement: PlaneSimilarity) -> list[Face]:
    """Apply a transform to each face; boxes stay upright."""
    boxes = np.array([face.box_xyxy for face in faces])
    corners = boxes.view(np.complex128)
    centres = movement.factor * corners.mean(axis=1) + movement.shift
    half_sides = np.abs(movement.factor) * (corners[:, 1] - corners[:, 0]) / 2
    moved_boxes = np.stack([centres - half_sides, centres + half_sides], axis=1).view(np.float64)
    landmarks = plane_from_points([face.landmarks for face in faces])
    moved_landmarks = movement.factor[:, None] * landmarks + movement.shift[:, None]
    points = moved_landmarks.view(np.float64).reshape(len(faces), -1, 2)
    return [
        Face(tuple(box), face.score, tuple((x, y) for x, y in of_face), track_id=face.track_id, found_by="flow")
        for face, box, of_face in zip(faces, moved_boxes.tolist(), points.tolist(), strict=True)
    ]


def _centre(face: Face) -> tuple[float, float]:
    x0, y0, x1, y1 = face.box_xyxy
    return (x0 + x1) / 2, (y0 + y1) / 2


def _size(face: Face) -> float:
    return max(face.width, face.height)
