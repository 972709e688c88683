"""Each flag answers to its own cause."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from emostream.face import Face
from emostream.track.quality import quality_flags, turn

# Large shapes with fine detail, as a face has.
GOOD_CROP = (np.indices((64, 64)).sum(axis=0) + np.random.default_rng(5).integers(0, 100, (64, 64))).astype(np.uint8)


def face(*, height: float = 80, nose: float = 0.5) -> Face:
    """A face whose nose tip lies at this share of the way from the left to the right eye."""
    landmarks = ((30, 40), (50, 40), (30 + 20 * nose, 52), (33, 62), (47, 62))
    return Face(box_xyxy=(20, 20, 60, 20 + height), score=0.9, landmarks=landmarks)


def test_a_good_face_has_no_flag() -> None:
    assert quality_flags(face(), GOOD_CROP) == ()


@pytest.mark.parametrize(
    ("bad_face", "crop", "flag"),
    [
        (face(height=30), GOOD_CROP, "small"),
        (face(), np.asarray(cv2.GaussianBlur(GOOD_CROP, (0, 0), 4), np.uint8), "blurred"),
        (face(), np.full((64, 64), 120, np.uint8), "blurred"),
        (face(), GOOD_CROP // 4, "dark"),
        (face(nose=0.9), GOOD_CROP, "profile"),
        (face(nose=-0.2), GOOD_CROP, "profile"),
    ],
    ids=["small", "blurred", "flat", "dark", "turned right", "turned left"],
)
def test_flag(bad_face: Face, crop: npt.NDArray[np.uint8], flag: str) -> None:
    assert quality_flags(bad_face, crop) == (flag,)


def test_turn_does_not_depend_on_tilt_or_size() -> None:
    angle = np.deg2rad(25)
    rotation = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    straight = face(nose=0.7)
    points = np.array(straight.landmarks) @ rotation.T
    tilted = Face(box_xyxy=(0, 0, 9, 9), score=0.9, landmarks=tuple((float(x), float(y)) for x, y in points))
    # A tilted head's nose lies below the line of the eyes, which the measure leaves out.
    assert turn(straight) == pytest.approx(0.2)
    assert turn(tilted) == pytest.approx(0.2)


def test_eyes_in_one_place_are_a_profile() -> None:
    odd = Face(box_xyxy=(0, 0, 9, 90), score=0.9, landmarks=((3, 3), (3, 3), (4, 4), (3, 6), (5, 6)))
    assert quality_flags(odd, GOOD_CROP) == ("profile",)
