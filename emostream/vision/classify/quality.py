"""Quality flags: measurements on a face and its crop that mark scores as less reliable."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import QualityFlag
from emostream.domain.face import Face

# The training pictures have 48 pixels; a smaller face reaches the classifier as an enlarged blur.
SMALL_BELOW_PIXELS = 40.0
# Mean gray level of a full-range crop. 0.5 % of the FER2013 Training pictures are darker.
DARK_BELOW_LEVEL = 48.0
# Less than 0.5 % of the FER2013 Training pictures are less sharp; after a Gaussian blur of one pixel a quarter of them
# are, after one of two pixels nearly all.
BLURRED_BELOW_SHARPNESS = 0.1
# In eye distances: 0 is frontal, at 0.5 the tip of the nose is in front of one eye; heads that turn in the test clips
# pass 0.3 shortly before their far eye disappears.
PROFILE_BEYOND_TURN = 0.3
# Contrast around both eyes, or around the mouth, as a share of the contrast of the inner face: a mask, sunglasses or a
# hand shows less than a face does. One per cent each of the FER2013 Training pictures show less. Patterned cloth is not
# detected. Measured by: python -m tests.benchmarks.occlusion
EYES_COVERED_BELOW_CONTRAST = 0.34
MOUTH_COVERED_BELOW_CONTRAST = 0.41

# Where a crop of side 1 shows the face's box (as placed by `vision/detect/align.py`; a test compares them), and the
# windows around the landmarks in which contrast is measured.
_BOX_CENTRE = complex(32.0, 33.05) / 64
_BOX_SIDES = 108.3 / 64
_EYE_REACH = (4 / 64, 3 / 64)
_MOUTH_REACH = (11 / 64, 6 / 64)
_INNER_FACE = (complex(32, 37) / 64, (20 / 64, 23 / 64))
_MIN_WINDOW_PIXELS = 9  # a smaller part of the window is inside only where a landmark is far off, which proves nothing


def quality_flags(face: Face, crop: npt.NDArray[np.uint8]) -> tuple[QualityFlag, ...]:
    """The quality flags of a face, in a fixed order; empty when it has none.

    Args:
        face: in pixels of its frame.
        crop: its aligned crop, uint8, gray, full range.
    """
    flags: list[QualityFlag] = []
    if face.height < SMALL_BELOW_PIXELS:
        flags.append("small")
    mean, deviation = cv2.meanStdDev(crop)
    if _sharpness(crop, contrast=float(deviation[0, 0])) < BLURRED_BELOW_SHARPNESS:
        flags.append("blurred")
    if float(mean[0, 0]) < DARK_BELOW_LEVEL:
        flags.append("dark")
    if turn(face) > PROFILE_BEYOND_TURN:
        flags.append("profile")
    if "blurred" not in flags and _is_covered(face, crop):  # blur reduces the contrast of small details first
        flags.append("occluded")
    return tuple(flags)


def _is_covered(face: Face, crop: npt.NDArray[np.uint8]) -> bool:
    eyes, mouth = covered_measures(face, crop)
    return eyes < EYES_COVERED_BELOW_CONTRAST or mouth < MOUTH_COVERED_BELOW_CONTRAST


def covered_measures(face: Face, crop: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Contrast around the eyes (of the eye with more) and around the mouth, as shares of the inner face's contrast.

    Infinite where it cannot be measured: on a flat picture, or when the landmark lies outside the crop.
    """
    reference = _contrast(crop, *_INNER_FACE)
    if reference < 1:
        return math.inf, math.inf
    left, right, _, left_corner, right_corner = points_in_crop(face)
    eyes = max(_contrast(crop, left, _EYE_REACH), _contrast(crop, right, _EYE_REACH))
    mouth = _contrast(crop, (left_corner + right_corner) / 2, _MOUTH_REACH)
    return eyes / reference, mouth / reference


def points_in_crop(face: Face) -> list[complex]:
    """The five landmarks in a crop of side 1, as complex numbers x + y·i."""
    x0, y0, x1, y1 = face.box_xyxy
    points = [complex(x, y) for x, y in face.landmarks]
    along = points[1] - points[0]
    turn_back = along.conjugate() / abs(along) if along else 1
    factor = turn_back * _BOX_SIDES / (x1 - x0 + y1 - y0)
    centre = complex(x0 + x1, y0 + y1) / 2
    return [_BOX_CENTRE + factor * (point - centre) for point in points]


def _contrast(crop: npt.NDArray[np.uint8], point: complex, reach: tuple[float, float]) -> float:
    """Standard deviation of the gray levels around a point of the crop; infinite where too little of it is inside."""
    side = len(crop)
    left, right = (min(max(round(side * (point.real + sign * reach[0])), 0), side) for sign in (-1, 1))
    top, bottom = (min(max(round(side * (point.imag + sign * reach[1])), 0), side) for sign in (-1, 1))
    if (right - left) * (bottom - top) < _MIN_WINDOW_PIXELS:
        return math.inf
    _, deviation = cv2.meanStdDev(crop[top:bottom, left:right])
    return float(deviation[0, 0])


def sharpness(crop: npt.NDArray[np.uint8]) -> float:
    """Fine detail relative to contrast: the crop's mean absolute Laplacian over its standard deviation."""
    _, deviation = cv2.meanStdDev(crop)
    return _sharpness(crop, contrast=float(deviation[0, 0]))


def _sharpness(crop: npt.NDArray[np.uint8], *, contrast: float) -> float:
    if contrast < 1:
        return 0.0  # a flat picture shows nothing
    return cv2.norm(cv2.Laplacian(crop, cv2.CV_16S), cv2.NORM_L1) / (crop.size * contrast)


def turn(face: Face) -> float:
    """Distance of the nose tip from the middle between the eyes, along the eye line, in eye distances; 0 is frontal."""
    (left_x, left_y), (right_x, right_y), (nose_x, nose_y) = face.landmarks[:3]
    eye_x, eye_y = right_x - left_x, right_y - left_y
    squared = eye_x * eye_x + eye_y * eye_y
    if squared == 0:
        return math.inf
    along = ((nose_x - left_x) * eye_x + (nose_y - left_y) * eye_y) / squared
    return abs(along - 0.5)
