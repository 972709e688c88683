"""Quality of a face: measurements that mark its scores as less reliable, or forbid to name an emotion.

The limits come from `python -m training.reliability`, which prints how often the named emotion is right against the
strength of each (docs/events.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from emostream.domain.event import QualityFlag
from emostream.domain.face import Face
from emostream.vision.classify.covers import Covered, covered_parts
from emostream.vision.geometry.head_pose import head_poses

# The training pictures have 48 pixels; a smaller face reaches the classifier as an enlarged blur.
SMALL_BELOW_PIXELS = 40.0
# Mean gray level of a full-range crop. 0.5 % of the FER2013 Training pictures are darker.
DARK_BELOW_LEVEL = 48.0
# Darkened to it, with noise of 0.5, 1.5 and 3 levels, 79, 69 and 55 % of the answers are right. Wrong ones are as sure
# as right ones: of faces darkened to level 4 with a noise of 1.5, 50 % were right and 95 % named.
UNREADABLE_BELOW_LEVEL = 8.0
# One in a hundred FER2013 Training pictures is less sharp; a Gaussian blur of 1.5 pixels of 48 leaves two thirds of
# them so, with 80 % of the answers right instead of 85 %.
BLURRED_BELOW_SHARPNESS = 0.15
# A blur of 3 pixels, where 62 % are still right, leaves nine in ten above; the curve ends there.
UNREADABLE_BELOW_SHARPNESS = 0.05
# Degrees. Beyond, the share of right answers falls: 88 % straight ahead, 78 % at 30° to 40°.
PROFILE_BEYOND_YAW = 30.0
PITCHED_BEYOND_PITCH = 20.0
# Where the other half of the face is not seen, and its landmarks are a guess.
AWAY_BEYOND_YAW, AWAY_BEYOND_PITCH = 70.0, 40.0
# Rather covered than not. Of FER2013 Training pictures that were kept apart 0.7 % are above for the eyes, sunglasses
# among them, and 1.3 % for the mouth, hands among them.
COVERED_ABOVE = 0.5

# In eye distances: how far what shows an expression reaches from the landmarks, down to the lower lip, sideways from
# the corners of the mouth, up to the upper lids, and sideways from the eyes.
_LIP_REACH, _CORNER_REACH, _LID_REACH, _EYE_REACH = 0.3, 0.1, 0.15, 0.12
# A face that the border cuts lengthwise seems to have its eyes close together; of other boxes they take this share.
_EYE_DISTANCE_PER_HEIGHT = 0.35
# Side in pixels of the crops that the limits of sharpness were measured on.
_SHARPNESS_SIDE = 48
# A model that takes smaller crops was trained on such a blur.
_MIN_SHARPNESS_SIDE = 32


@dataclass(frozen=True, slots=True)
class Quality:
    """What can be seen of a face.

    Attributes:
        flags: why its scores deserve less trust, in a fixed order; empty when nothing is wrong.
        is_readable: whether enough is seen to name an emotion.
    """

    flags: tuple[QualityFlag, ...]
    is_readable: bool


def quality_of(
    face: Face,
    crop: npt.NDArray[np.uint8],
    *,
    frame_width: int,
    frame_height: int,
    yaw_degrees: float,
    pitch_degrees: float,
    covered: Covered,
) -> Quality:
    """The quality of a face.

    Args:
        face: in pixels of its frame.
        crop: its aligned crop, uint8, S×S, gray, full range.
        frame_width, frame_height: size of the frame.
        yaw_degrees, pitch_degrees: where its head turns to (`head_poses`).
        covered: what of it is covered (`covered_parts`).
    """
    sharp = sharpness(crop) if len(crop) >= _MIN_SHARPNESS_SIDE else math.inf
    is_cut = _is_cut(face, frame_width, frame_height)
    is_covered = max(covered) > COVERED_ABOVE
    level = cv2.mean(crop)[0]
    measured: dict[QualityFlag, bool] = {
        "small": face.height < SMALL_BELOW_PIXELS,
        "blurred": sharp < BLURRED_BELOW_SHARPNESS,
        "dark": level < DARK_BELOW_LEVEL,
        "profile": abs(yaw_degrees) > PROFILE_BEYOND_YAW,
        "pitched": abs(pitch_degrees) > PITCHED_BEYOND_PITCH,
        "cut": is_cut,
        "occluded": is_covered,
    }
    is_away = abs(yaw_degrees) > AWAY_BEYOND_YAW or abs(pitch_degrees) > AWAY_BEYOND_PITCH
    is_faint = sharp < UNREADABLE_BELOW_SHARPNESS or level < UNREADABLE_BELOW_LEVEL
    is_unreadable = is_cut or is_covered or is_away or is_faint
    return Quality(tuple(flag for flag, is_raised in measured.items() if is_raised), not is_unreadable)


def quality_by_itself(face: Face, crop: npt.NDArray[np.uint8], *, frame_width: int, frame_height: int) -> Quality:
    """The quality of one face whose pose and covers are not known yet; arguments and units as in `quality_of`.

    Raises:
        InferenceError: the net that sees covered faces failed.
    """
    ((yaw, pitch, _),) = head_poses(np.array([face.landmarks], dtype=np.float64)).tolist()
    return quality_of(
        face,
        crop,
        frame_width=frame_width,
        frame_height=frame_height,
        yaw_degrees=yaw,
        pitch_degrees=pitch,
        covered=covered_parts(crop[None])[0],
    )


def sharpness(crop: npt.NDArray[np.uint8]) -> float:
    """Fine detail relative to contrast: mean absolute Laplacian over the standard deviation, of a crop of 48 pixels."""
    if len(crop) != _SHARPNESS_SIDE:
        side = (_SHARPNESS_SIDE, _SHARPNESS_SIDE)
        interpolation = cv2.INTER_AREA if len(crop) > _SHARPNESS_SIDE else cv2.INTER_LINEAR
        crop = np.asarray(cv2.resize(crop, side, interpolation=interpolation), dtype=np.uint8)
    _, deviation = cv2.meanStdDev(crop)
    contrast = float(deviation[0, 0])
    if contrast < 1:
        return 0.0  # a flat picture shows nothing
    return cv2.norm(cv2.Laplacian(crop, cv2.CV_16S), cv2.NORM_L1) / (crop.size * contrast)


def _is_cut(face: Face, frame_width: int, frame_height: int) -> bool:
    """Whether eyes or mouth reach over the border of the frame.

    A detector squeezes the landmarks of such a face into the frame: where the picture ends below the nose, it puts the
    mouth on its last row.
    """
    left, right, _, left_corner, right_corner = (complex(x, y) for x, y in face.landmarks)
    along = right - left or right_corner - left_corner
    if along == 0:
        return False
    along /= abs(along)
    down = along * 1j
    size = max(abs(right - left), _EYE_DISTANCE_PER_HEIGHT * face.height)
    reach = (
        (left_corner + right_corner) / 2 + _LIP_REACH * size * down,
        left_corner - _CORNER_REACH * size * along,
        right_corner + _CORNER_REACH * size * along,
        (left + right) / 2 - _LID_REACH * size * down,
        left - _EYE_REACH * size * along,
        right + _EYE_REACH * size * along,
    )
    return any(not (0 <= point.real <= frame_width and 0 <= point.imag <= frame_height) for point in reach)
