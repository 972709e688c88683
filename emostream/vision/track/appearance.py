"""How a face looks, compared by correlation: enough to tell two people in consecutive frames apart.

It does not recognise people: a head that turns soon looks less like itself than like somebody else who faces the camera
the same way. The limits below therefore fall with the time between two looks. They come from distributions measured by
`python -m tests.benchmarks.appearance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.detect.align import crop_face
from emostream.vision.geometry.downscale import halved
from emostream.vision.track.flow import PATCH_SIDE_PIXELS, FacePatch, recut

Look = npt.NDArray[np.float32]
"""float32, SIDE×SIDE: the aligned crop of a face with local mean 0 and local contrast 1, so that light and exposure
hardly matter (a flash, a fade, a camera that adapts)."""

Vector = npt.NDArray[np.float32]
VectorOf = Callable[[Luma, Face], Vector]
"""A face in a picture → a vector of length 1, in which faces of one person lie close together."""

SIDE = 48
_SMOOTHING_PIXELS = 1.5  # noise, compression and different sharpness
_LOCAL_PIXELS = (21, 21)  # a box as wide as a Gaussian of 6 pixels, and seven times faster
_CONTRAST_FLOOR_LEVELS = 2.0  # flat skin is not amplified to noise
# The middle of one look is found in the other one within a shift: detections of the same face differ by a few per cent
# in place and size. Without the shift, neighbours of one track correlate by 0.57 only (1st percentile).
_BORDER_PIXELS = 8
_MAX_SHIFT_PIXELS = 6
# The same for patches, in which a face is 36 pixels high.
_HALF_PATCH_PIXELS = 14
_MAX_PATCH_SHIFT_PIXELS = 8

# Likeness of one person in two pictures, the better of both comparisons, faces of at least 24 pixels: seconds between
# them, and the smallest likeness with which it is one person. Measured (0.5th and 1st percentile): 0.95, 0.95 for
# 0.1 s; 0.88, 0.90 for 0.2 s; 0.75, 0.79 for 0.33 s; 0.68, 0.69 for 0.5 s; 0.61, 0.64 for 1 s; 0.67, 0.68 for 2 s.
# Of two people who both face the camera: 0.48 (median), 0.68 (95th percentile), 0.75 (99th). Somebody who turns fast in
# few frames a second has 0.73 after 0.2 s and 0.48 after 1 s: over longer times, most changes of people are told, not
# all.
_MIN_LIKENESS = ((0.1, 0.78), (0.25, 0.68), (0.4, 0.6), (math.inf, 0.45))
_MIN_OF_SMALL_NEIGHBOURS = 0.65
# Where the frame before does not show the face, by its aligned looks only: seconds since the newest one, and the limit.
_MIN_OF_LOOKS = ((1.0, 0.55), (math.inf, 0.45))
_MIN_LATER_FACE_PIXELS = 24.0  # after more than 0.1 s, smaller faces vary too much
# A plain correlation as high as this needs no second look: the usual case, decided cheaply.
_MIN_UNCHANGED = 0.93
_FADE_SECONDS = 1.5
_MAX_UNFADED = 0.92  # a look that is as like the newest known one shows no fade that goes on
_MAX_FADED = 0.6
MIN_SURELY_SAME = 0.8
_LOOKS_APART_SECONDS = 0.5
# Of the vectors of a face in two pictures, where likeness decides nothing: of one person 0.906 (1st percentile) and of
# two 0.926 (99th) and 0.85 (median; `tests.benchmarks.persons`).
_MIN_COSINE = 0.91


def look_of(luma: Luma, face: Face) -> Look:
    """The look of a face in a picture."""
    # Sampled once, as the crops that the limits above were measured on.
    return look_normalised(crop_face(luma, face, size=SIDE, is_averaged=False))


def look_normalised(pixels: Luma) -> Look:
    """Pixels with local mean 0 and local contrast 1."""
    smooth = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), _SMOOTHING_PIXELS)
    detail = smooth - cv2.blur(smooth, _LOCAL_PIXELS)
    contrast = cv2.sqrt(cv2.blur(detail * detail, _LOCAL_PIXELS))
    return np.asarray(detail / (contrast + _CONTRAST_FLOOR_LEVELS), dtype=np.float32)


def likeness(one: Look, other: Look) -> float:
    """Largest correlation of the middle of one look with the other one, −1…1, over small shifts."""
    inner = slice(_BORDER_PIXELS, SIDE - _BORDER_PIXELS)
    outer = slice(_BORDER_PIXELS - _MAX_SHIFT_PIXELS, SIDE - _BORDER_PIXELS + _MAX_SHIFT_PIXELS)
    return _largest_correlation(other[outer, outer], one[inner, inner])


def likeness_in_place(patch: FacePatch, luma: Luma, face: Face) -> float:
    """The same for a face in a later frame, as it stands in the picture, at the same scale.

    Between neighbouring frames a face hardly turns or grows, while detections of it do: compared so, one person has
    0.90 at least in 2,662 pairs (0.85 where faces are smaller than 24 pixels), two people 0.75 at most in 9 cuts.
    """
    inner, outer = _middles(patch, recut(luma, face, side=patch.window.side), normalise=look_normalised)
    return _largest_correlation(outer, inner)


def is_unchanged(patch: FacePatch, luma: Luma, face: Face) -> bool:
    """Whether a face in a later frame surely shows what the patch shows; as `likeness_in_place`, coarser and faster."""
    inner, outer = _middles(patch, recut(luma, face, side=patch.window.side), normalise=lambda pixels: pixels)
    return _largest_correlation(halved(outer), halved(inner)) >= _MIN_UNCHANGED


def _middles(
    patch: FacePatch, later: Luma, *, normalise: Callable[[Luma], npt.NDArray[Any]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The middle of a face in its patch, and the middle of a later patch with room for shifts."""
    scale = PATCH_SIDE_PIXELS / patch.window.side
    x0, y0, x1, y1 = patch.face.box_xyxy
    half, shift = _HALF_PATCH_PIXELS, _MAX_PATCH_SHIFT_PIXELS
    x, y = (
        min(max(round(((low + high) / 2 - start) * scale), half), PATCH_SIDE_PIXELS - half)
        for low, high, start in ((x0, x1, patch.window.left), (y0, y1, patch.window.top))
    )
    middle = slice(PATCH_SIDE_PIXELS // 2 - half - shift, PATCH_SIDE_PIXELS // 2 + half + shift)
    return normalise(patch.pixels)[y - half : y + half, x - half : x + half], normalise(later)[middle, middle]


def _largest_correlation(whole: npt.NDArray[Any], part: npt.NDArray[Any]) -> float:
    return float(cv2.matchTemplate(whole, part, cv2.TM_CCOEFF_NORMED).max())


class FrameLooks:
    """The looks of the faces detected in one frame, and of the tracks in the frame before; made when asked for.

    Args:
        luma: the frame.
        patches: of the tracks in the frame before.
        gap_seconds: time since the frame before.
        is_zoomed: the frame before shows the same scene at another size, so faces may reach over the border now.
        has_faded: whether another picture was faded in where a face is, shortly before.
        vector_of: the vector of a face in a picture, as of `vision.persons`; asked where pictures are far apart and
            looks decide nothing, and where a face is found again elsewhere. None decides by looks alone.
    """

    def __init__(
        self,
        luma: Luma,
        patches: Mapping[int, FacePatch],
        *,
        gap_seconds: float,
        is_zoomed: bool = False,
        has_faded: Callable[[Face], bool] = lambda face: False,
        vector_of: VectorOf | None = None,
    ) -> None:
        self._vector_of = vector_of
        self._vectors: dict[int | Face, Vector] = {}
        self._luma = luma
        self.patches = patches
        self._min_likeness = _limit(_MIN_LIKENESS, gap_seconds)
        self._are_neighbours = gap_seconds <= _MIN_LIKENESS[0][0]
        self._is_zoomed = is_zoomed
        self._has_faded = has_faded
        self._looks: dict[Face, Look] = {}

    def of(self, face: Face) -> Look:
        """The look of a detected face."""
        if face not in self._looks:
            self._looks[face] = look_of(self._luma, face)
        return self._looks[face]

    def before(self, track_id: int) -> Look | None:
        """The look of a track in the frame before; None where it was not seen in it."""
        patch = self.patches.get(track_id)
        return None if patch is None else look_of(patch.pixels, patch.face_in_pixels)

    def distance(
        self,
        track_id: int,
        known: Sequence[tuple[float, Look]],
        face: Face,
        *,
        pts_seconds: float,
        may_be_covered: Callable[[], bool] = lambda: False,
    ) -> float:
        """How unlike a track a detected face is: 0 alike … 2; infinite for another person.

        Args:
            track_id: of the track.
            known: looks of the track at earlier searches with their times, the newest one at the end.
            face: a detected face.
            pts_seconds: time of the frame.
            may_be_covered: whether another face is at its edge, so that it may look like none; it is not another
                person then.
        """
        if not known or self._is_zoomed:
            return 0.0
        patch = self.patches.get(track_id)
        is_due = is_look_due(known, pts_seconds=pts_seconds)
        if patch is not None and not is_due and is_unchanged(patch, self._luma, face):
            return 1 - _MIN_UNCHANGED
        alike = likeness(known[-1][1], self.of(face))
        is_other = self._is_other(patch, known, face, alike, pts_seconds=pts_seconds)
        if not is_other and patch is not None and alike < _MAX_UNFADED:
            is_other = self._is_faded(known, face, pts_seconds=pts_seconds)
        return math.inf if is_other and not may_be_covered() else 1 - alike

    def _is_other(
        self,
        patch: FacePatch | None,
        known: Sequence[tuple[float, Look]],
        face: Face,
        alike: float,
        *,
        pts_seconds: float,
    ) -> bool:
        """Whether a detected face is another person, given its likeness with the newest look of the track."""
        if alike >= MIN_SURELY_SAME:
            return False
        is_judged = face.height >= _MIN_LATER_FACE_PIXELS
        if patch is not None and (is_judged or self._are_neighbours):
            in_place = likeness_in_place(patch, self._luma, face)
            if self._are_neighbours:
                limit = self._min_likeness if is_judged else _MIN_OF_SMALL_NEIGHBOURS
                # A face that is uncovered differs from the frame before, but not from how it looked earlier.
                return in_place < limit and surely_same([look for _, look in known], self.of(face)) is None
            alike = max(alike, in_place)
        if not is_judged:
            return False
        alike = max(alike, *(likeness(look, self.of(face)) for _, look in known))
        if patch is not None and self._vector_of is not None and alike < MIN_SURELY_SAME:
            return self.is_other_by_vectors(patch, face)
        return alike < (self._min_likeness if patch is not None else _limit(_MIN_OF_LOOKS, pts_seconds - known[-1][0]))

    def is_other_by_vectors(self, patch: FacePatch | None, face: Face) -> bool:
        """Whether vectors tell that a face is another person than a track; never without them. Each is made once."""
        if self._vector_of is None or patch is None:
            return False
        before = patch.face.track_id or 0
        if before not in self._vectors:
            self._vectors[before] = self._vector_of(patch.pixels, patch.face_in_pixels)
        if face not in self._vectors:
            self._vectors[face] = self._vector_of(self._luma, face)
        return float(self._vectors[before] @ self._vectors[face]) < _MIN_COSINE

    def _is_faded(self, known: Sequence[tuple[float, Look]], face: Face, *, pts_seconds: float) -> bool:
        """Whether another person was faded in, in the place of a track."""
        earlier = next((look for at, look in known if pts_seconds - at <= _FADE_SECONDS), None)
        if earlier is None or face.height < _MIN_LATER_FACE_PIXELS:
            return False
        return likeness(earlier, self.of(face)) < _MAX_FADED and self._has_faded(face)


def _limit(limits: Sequence[tuple[float, float]], seconds: float) -> float:
    return next(limit for longest, limit in limits if seconds <= longest)


def is_look_due(known: Sequence[tuple[float, Look]], *, pts_seconds: float) -> bool:
    """Whether the newest look of a track is so old that another one is to be kept."""
    return not known or pts_seconds - known[-1][0] >= _LOOKS_APART_SECONDS


def surely_same(known: Sequence[Look], look: Look) -> float | None:
    """The likeness of a face with earlier looks of a track, when it shows that they are one person; else None."""
    alike = max((likeness(each, look) for each in known), default=-1.0)
    return alike if alike >= MIN_SURELY_SAME else None
