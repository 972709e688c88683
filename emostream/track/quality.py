"""Pure: measurements on a crop and its face that say when the scores deserve less trust."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from emostream.event import QualityFlag
from emostream.face import Face

# The training pictures have 48 pixels; from a face of less than that height the classifier sees enlarged blur.
SMALL_BELOW_PIXELS = 40.0
# Mean level of a full-range crop. Half a per cent of the FER2013 Training pictures are darker.
DARK_BELOW_LEVEL = 48.0
# Fewer than half a per cent of the FER2013 Training pictures are less sharp; after a Gaussian blur of one pixel a
# quarter of them are, after one of two pixels nearly all.
BLURRED_BELOW_SHARPNESS = 0.1
# In eye distances: 0 is frontal, at 0.5 the nose tip stands before an eye; the heads that turn in the test clips pass
# 0.3 where their far eye is about to vanish.
PROFILE_BEYOND_TURN = 0.3


def quality_flags(face: Face, crop: npt.NDArray[np.uint8]) -> tuple[QualityFlag, ...]:
    """What is wrong with this face, in a fixed order; empty when nothing is.

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
    return tuple(flags)


def sharpness(crop: npt.NDArray[np.uint8]) -> float:
    """How much of a crop's contrast is fine detail: mean absolute Laplacian over the standard deviation."""
    _, deviation = cv2.meanStdDev(crop)
    return _sharpness(crop, contrast=float(deviation[0, 0]))


def _sharpness(crop: npt.NDArray[np.uint8], *, contrast: float) -> float:
    if contrast < 1:
        return 0.0  # a flat picture shows nothing
    return cv2.norm(cv2.Laplacian(crop, cv2.CV_16S), cv2.NORM_L1) / (crop.size * contrast)


def turn(face: Face) -> float:
    """How far the nose tip is from the middle between the eyes, in eye distances along their line; 0 is frontal."""
    (left_x, left_y), (right_x, right_y), (nose_x, nose_y) = face.landmarks[:3]
    eye_x, eye_y = right_x - left_x, right_y - left_y
    squared = eye_x * eye_x + eye_y * eye_y
    if squared == 0:
        return math.inf
    along = ((nose_x - left_x) * eye_x + (nose_y - left_y) * eye_y) / squared
    return abs(along - 0.5)
