"""Searches the frames of one video: cuts crowds, looks twice at weak faces that stay, and turns where nothing is found.

What a search of a still picture decides at once, a video may confirm: its detections start a track only above a score
(`track.confirm_score`). A face that stays below it, frame after frame, is searched again in other ways: mirrored
and at other sizes. A face is mostly found again, with better scores; what a detector takes for a face is not.
"""

from __future__ import annotations

import cmath
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Luma
from emostream.vision.detect.quarter_turns import QUARTERS, turned_back, turned_picture
from emostream.vision.geometry.boxes import iou_matrix, non_maximum_suppression

logger = logging.getLogger(__name__)

Detect = Callable[[Luma], list[Face]]

# Smaller faces lack the detail that another look could show.
_MIN_LOOK_PIXELS = 40.0
# Searches that must have seen a weak face at its place before it is looked at again, and how often after that.
_SEARCHES_BEFORE_LOOK = 3
_SEARCHES_BETWEEN_LOOKS = 15
# A face near the detector's limit is seen by every second search or so.
_MAX_SEARCHES_MISSED = 2
_MAX_LOOKS_PER_SEARCH = 2
# Whether the look is mirrored, and the height of the face in it. The part is three faces wide, so an input has at most
# 320×320 pixels: a search of all four costs less than one of a frame.
_LOOKS = ((True, 80), (False, 56), (True, 40), (False, 104))
_PART_PER_FACE = 3.0
# Mean score of the four looks. Weak detections in 253 pictures without faces, upright and turned, have 0 to 0.16, those
# of 40 to 64 pixels in 122 other pictures 0 only; of weak faces half covered, leaning or dark 50 to 100 % have over
# 0.35, of heavily blurred ones a quarter; those of 52 pixels in a crowd have 0.5 to 0.85.
_MIN_LOOKED_SCORE = 0.35
_SAME_FACE_IOU = 0.4
# Searches without a good face before other quarter turns are tried, and before a turn that found some is given up.
_SEARCHES_BEFORE_TURNS = 6
# A face that leans more is found better in a turned picture: at 60° by all four quarter turns, upright by 77 to 85 %.
_MAX_LEAN_DEGREES = 50.0


@dataclass(frozen=True, slots=True)
class _Weak:
    """A place at which successive searches see a weak face.

    Attributes:
        box_xyxy: where the last one saw it.
        num_searches: how many have.
        num_missed: how many have not since.
        next_look: how many must have for the next look at it.
        confirmed_score: the best score of the looks that confirmed it; None while none have.
    """

    box_xyxy: BoxXyxy
    num_searches: int = 1
    num_missed: int = 0
    next_look: int = _SEARCHES_BEFORE_LOOK
    confirmed_score: float | None = None


class VideoSearch:
    """Finds the faces in the frames of one stream. Called from one thread at a time, frame by frame, in order.

    Args:
        detect: finds the faces in a frame, weak ones included.
        look: finds the faces in a part of a frame at another size; usually the same.
        confirm_score: faces below this start no track.
        max_faces: largest number of faces per frame.
        max_iou: of two faces that overlap more than this, the one with the lower score is dropped.
        is_turned: whether to look for heads that lie or stand upside down while no upright face is found.
        notice_of_size: what people should know about frames of this width and height, or nothing; logged once.
        name: of the stream, for the log.
    """

    def __init__(
        self,
        detect: Detect,
        *,
        look: Detect,
        confirm_score: float,
        max_faces: int,
        max_iou: float = 0.3,
        is_turned: bool = False,
        notice_of_size: Callable[[int, int], str] | None = None,
        name: str = "",
    ) -> None:
        self._detect = detect
        self._look = look
        self._confirm_score = confirm_score
        self._max_faces = max_faces
        self._max_iou = max_iou
        self._is_turned = is_turned
        self._notice_of_size = notice_of_size
        self._name = name
        self._shape: tuple[int, ...] = ()
        self._has_said_crowd = False
        self._weak: list[_Weak] = []
        self._quarters = 0
        self._num_idle = 0

    def __call__(self, luma: Luma) -> list[Face]:
        """Faces in a gray picture (uint8, H×W), best score first.

        Raises:
            InferenceError: it could not be searched.
        """
        if luma.shape != self._shape:
            self._shape = luma.shape
            if self._notice_of_size is not None and (notice := self._notice_of_size(luma.shape[1], luma.shape[0])):
                logger.warning("%s: %s", self._name, notice)
        faces = self._confirmed(self._detect(luma), luma)
        if self._is_turned:
            faces = self._with_turned(faces, luma)
        if len(faces) > self._max_faces and not self._has_said_crowd:
            self._has_said_crowd = True
            logger.warning(
                "%s: %d faces found, the best %d are kept (detect.max_faces); this is said once",
                self._name,
                len(faces),
                self._max_faces,
            )
        return faces[: self._max_faces]

    def _confirmed(self, faces: Sequence[Face], luma: Luma) -> list[Face]:
        """The faces; weak ones that other looks confirmed have the score of these."""
        weak: list[_Weak] = []
        found = []
        num_looks = 0
        for face in faces:
            if face.score < self._confirm_score and face.height >= _MIN_LOOK_PIXELS:
                place = self._continued(face)
                if place.num_searches >= place.next_look and num_looks < _MAX_LOOKS_PER_SEARCH:
                    num_looks += 1
                    place = replace(
                        place,
                        next_look=place.num_searches + _SEARCHES_BETWEEN_LOOKS,
                        confirmed_score=self._look_again(luma, face),
                    )
                weak.append(place)
                found.append(replace(face, score=max(face.score, place.confirmed_score or 0.0)))
            else:
                found.append(face)
        self._weak = [*weak, *self._missed(faces)]
        return sorted(found, key=lambda face: -face.score)

    def _look_again(self, luma: Luma, face: Face) -> float | None:
        scores = looked_scores(luma, face, detect=self._look)
        is_confirmed = sum(scores) / len(scores) >= _MIN_LOOKED_SCORE and max(scores) >= self._confirm_score
        return max(scores) if is_confirmed else None

    def _continued(self, face: Face) -> _Weak:
        if self._weak:
            boxes = np.array([place.box_xyxy for place in self._weak])
            overlaps = iou_matrix(np.array([face.box_xyxy]), boxes)[0]
            if overlaps.max() >= _SAME_FACE_IOU:
                known = self._weak[int(overlaps.argmax())]
                return replace(known, box_xyxy=face.box_xyxy, num_searches=known.num_searches + 1, num_missed=0)
        return _Weak(face.box_xyxy)

    def _missed(self, faces: Sequence[Face]) -> list[_Weak]:
        """The places at which this search saw nothing, while they may still be found again."""
        remembered = [place for place in self._weak if place.num_missed < _MAX_SEARCHES_MISSED]
        if remembered and faces:
            overlaps = iou_matrix(
                np.array([place.box_xyxy for place in remembered]), np.array([face.box_xyxy for face in faces])
            )
            is_seen = (overlaps.max(axis=1) >= _SAME_FACE_IOU).tolist()
            remembered = [place for place, seen in zip(remembered, is_seen, strict=True) if not seen]
        return [replace(place, num_missed=place.num_missed + 1) for place in remembered]

    def _with_turned(self, faces: list[Face], luma: Luma) -> list[Face]:
        """The faces, and those of the quarter turn that shows some; in search of one, each search tries another."""
        is_good = any(face.score >= self._confirm_score and lean_degrees(face) <= _MAX_LEAN_DEGREES for face in faces)
        if self._quarters == 0:
            self._num_idle = 0 if is_good else self._num_idle + 1
            if self._num_idle < _SEARCHES_BEFORE_TURNS:
                return faces
            quarters = QUARTERS[self._num_idle % len(QUARTERS)]
        else:
            quarters = self._quarters
        height, width = luma.shape
        found = self._detect(turned_picture(luma, quarters))
        good = [face for face in found if face.score >= self._confirm_score]
        if good:
            self._quarters, self._num_idle = quarters, 0
        elif self._quarters:
            self._num_idle += 1
            if self._num_idle >= _SEARCHES_BEFORE_TURNS:
                self._quarters = self._num_idle = 0
        # Weak ones may continue a track, once there is one.
        shown = found if self._quarters else good
        return _best_of([*faces, *turned_back(shown, quarters, width=width, height=height)], max_iou=self._max_iou)


def lean_degrees(face: Face) -> float:
    """How far the line from the eyes to the mouth is from pointing down: 0 to 180; 0 without landmarks."""
    if not face.landmarks:
        return 0.0
    left, right, _, left_corner, right_corner = (complex(x, y) for x, y in face.landmarks)
    down = (left_corner + right_corner) - (left + right)
    return abs(math.degrees(cmath.phase(down / 1j))) if down else 0.0


def _best_of(faces: Sequence[Face], *, max_iou: float) -> list[Face]:
    boxes = np.array([face.box_xyxy for face in faces], dtype=np.float64).reshape(-1, 4)
    scores = np.array([face.score for face in faces], dtype=np.float64)
    return [faces[index] for index in non_maximum_suppression(boxes, scores, max_iou=max_iou)]


def looked_scores(luma: Luma, face: Face, *, detect: Detect) -> list[float]:
    """The scores of a face in four other looks at it, mirrored and at other sizes; 0 where it is not found again.

    Args:
        luma: the frame, uint8, H×W.
        face: in pixels of the frame.
        detect: finds the faces in such a look.
    """
    height, width = luma.shape
    x0, y0, x1, y1 = face.box_xyxy
    reach = _PART_PER_FACE * max(face.width, face.height) / 2
    left, right = (round(min(max((x0 + x1) / 2 + side * reach, 0), width)) for side in (-1, 1))
    top, bottom = (round(min(max((y0 + y1) / 2 + side * reach, 0), height)) for side in (-1, 1))
    if right <= left or bottom <= top:
        return [0.0] * len(_LOOKS)
    part = luma[top:bottom, left:right]
    box = (x0 - left, y0 - top, x1 - left, y1 - top)
    return [
        _look_at(part, box, detect=detect, is_mirrored=is_mirrored, scale=pixels / face.height)
        for is_mirrored, pixels in _LOOKS
    ]


def _look_at(part: Luma, box: BoxXyxy, *, detect: Detect, is_mirrored: bool, scale: float) -> float:
    """The best score of a face at this box in the part, resized by `scale`; 0 where there is none."""
    height, width = part.shape
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    shown = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x0, y0, x1, y1 = box
    if is_mirrored:
        shown, x0, x1 = np.ascontiguousarray(shown[:, ::-1]), width - x1, width - x0
    faces = detect(np.asarray(shown, dtype=np.uint8))
    if not faces:
        return 0.0
    expected = np.array([(x0, y0, x1, y1)]) * scale
    overlaps = iou_matrix(expected, np.array([face.box_xyxy for face in faces]))[0]
    same = [face.score for face, overlap in zip(faces, overlaps, strict=True) if overlap >= _SAME_FACE_IOU]
    return max(same, default=0.0)
