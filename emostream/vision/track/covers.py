"""The boxes to anonymise in each frame, including frames shortly before a face is found and after it is lost."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Frame
from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.track.flow import FacePatch, follow_faces, patch_of

HOLD_SECONDS = 0.5
"""A face that appears or turns to the camera is found a few frames late; one that leaves is lost a few frames early."""

# Limits memory for very fast sources; 64 frames are half a second at 128 frames per second.
_MAX_HELD_FRAMES = 64
_SAME_FACE_IOU = 0.3
# A cover without a detection grows by this many face sizes per second on each side: slowly while optical flow tracks
# the face, faster without. People walk past at two or three sizes per second, but few of them undetected.
_GROWTH_FOLLOWED = 0.2
_GROWTH_HELD = 1.0


@dataclass(frozen=True, slots=True)
class CoveredFrame:
    """A frame and the boxes to cover in it, in its pixels; boxes may extend beyond its border."""

    frame: Frame
    boxes: tuple[BoxXyxy, ...]


@dataclass(frozen=True, slots=True)
class _Carried:
    """A face carried to frames in which it was not found.

    Attributes:
        face: its estimated position.
        patch: for optical flow; None where the flow was lost.
        from_seconds: time of the frame in which it was found.
        growth: in face sizes, on each side.
    """

    face: Face
    patch: FacePatch | None
    from_seconds: float
    growth: float = 0.0

    @property
    def box_xyxy(self) -> BoxXyxy:
        x0, y0, x1, y1 = self.face.box_xyxy
        margin = self.growth * max(x1 - x0, y1 - y0)
        return (x0 - margin, y0 - margin, x1 + margin, y1 + margin)


@dataclass(slots=True)
class _Held:
    frame: Frame
    found: list[Face]
    carried: list[BoxXyxy] = field(default_factory=list)


class FaceCovers:
    """The covers of one stream. Called frame by frame, in order; not thread-safe.

    A detected face is also covered in the frames before and after, for `HOLD_SECONDS` each way: along the optical flow,
    or at its last position in a growing box. Scene cuts do not end a cover, because a flash can look like a cut and
    covering one frame too many is better than showing a face.

    Args:
        is_live: frames cannot be delayed, so earlier frames are not covered.
    """

    def __init__(self, *, is_live: bool = False) -> None:
        self._is_live = is_live
        self._waiting: deque[_Held] = deque()
        self._last: _Held | None = None
        self._lost: list[_Carried] = []

    def add(self, frame: Frame, found: Sequence[Face]) -> list[CoveredFrame]:
        """Add a frame and return the frames that are ready, in order.

        Args:
            frame: the next frame; kept until it is returned.
            found: all faces found in it by a search, weak detections included.
        """
        held = _Held(frame, list(found))
        last = self._last
        if last is not None and _are_neighbours(last.frame, frame):
            self._carry_on(last, held)
            if not self._is_live:
                self._look_back(held)
        else:
            self._lost = []
        self._waiting.append(held)
        self._last = held
        return self._ready(frame.pts_seconds)

    def finish(self) -> list[CoveredFrame]:
        """Return the remaining frames at the end of the stream."""
        ready = [_covered(held) for held in self._waiting]
        self._waiting.clear()
        self._last, self._lost = None, []
        return ready

    def _ready(self, now_seconds: float) -> list[CoveredFrame]:
        ready = []
        while self._waiting and (
            self._is_live
            or now_seconds - self._waiting[0].frame.pts_seconds > HOLD_SECONDS
            or len(self._waiting) > _MAX_HELD_FRAMES
        ):
            ready.append(_covered(self._waiting.popleft()))
        return ready

    def _carry_on(self, last: _Held, held: _Held) -> None:
        """Carry faces of the last frame that were not found in this one."""
        at_seconds = last.frame.pts_seconds
        gone = _without_partner(last.found, held.found)
        carried = [_Carried(face, patch_of(last.frame.luma, face), at_seconds) for face in gone]
        still_lost = [each for each in self._lost if held.frame.pts_seconds - each.from_seconds <= HOLD_SECONDS]
        moved = _moved([*still_lost, *carried], at_seconds, held.frame)
        self._lost = _unfound(moved, held.found)
        held.carried += [each.box_xyxy for each in self._lost]

    def _look_back(self, held: _Held) -> None:
        """Carry faces of this frame that were not found in the last one back to earlier frames."""
        assert self._last is not None  # noqa: S101  # for the type checker
        at_seconds = held.frame.pts_seconds
        new = _without_partner(held.found, self._last.found)
        carried = [_Carried(face, patch_of(held.frame.luma, face), at_seconds) for face in new]
        for earlier in reversed(self._waiting):
            if not carried or not _are_neighbours(earlier.frame, held.frame):
                return
            carried = _unfound(_moved(carried, at_seconds, earlier.frame), earlier.found)
            earlier.carried += [each.box_xyxy for each in carried]
            at_seconds = earlier.frame.pts_seconds


def _are_neighbours(earlier: Frame, later: Frame) -> bool:
    """Whether faces can be tracked between two frames: they are near in time and of the same size."""
    is_near = later.pts_seconds - earlier.pts_seconds <= HOLD_SECONDS
    return is_near and earlier.luma.shape == later.luma.shape


def _moved(carried: Sequence[_Carried], at_seconds: float, frame: Frame) -> list[_Carried]:
    """The faces in a neighbouring frame, which may be an earlier one."""
    elapsed = abs(frame.pts_seconds - at_seconds)
    followed = iter(follow_faces([each.patch for each in carried if each.patch is not None], frame.luma))
    moved = []
    for each in carried:
        patch = None if each.patch is None else next(followed)
        face = each.face if patch is None else patch.face
        growth = each.growth + elapsed * (_GROWTH_HELD if patch is None else _GROWTH_FOLLOWED)
        moved.append(dataclasses.replace(each, face=face, patch=patch, growth=growth))
    return moved


def _unfound(carried: Sequence[_Carried], found: Sequence[Face]) -> list[_Carried]:
    """Those that overlap no detected face."""
    is_unfound = _is_without_partner([each.face for each in carried], found)
    return [each for each, unfound in zip(carried, is_unfound, strict=True) if unfound]


def _without_partner(faces: Sequence[Face], others: Sequence[Face]) -> list[Face]:
    return [face for face, alone in zip(faces, _is_without_partner(faces, others), strict=True) if alone]


def _is_without_partner(faces: Sequence[Face], others: Sequence[Face]) -> list[bool]:
    if not faces or not others:
        return [True] * len(faces)
    overlaps = iou_matrix(np.array([face.box_xyxy for face in faces]), np.array([other.box_xyxy for other in others]))
    return [bool(best < _SAME_FACE_IOU) for best in overlaps.max(axis=1)]


def _covered(held: _Held) -> CoveredFrame:
    return CoveredFrame(held.frame, (*(face.box_xyxy for face in held.found), *held.carried))
