"""Each flag answers to its own cause."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.face import Face
from emostream.vision.classify.quality import covered_measures, points_in_crop, quality_flags, turn
from emostream.vision.detect.align import crop_face, crop_similarities

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


@given(
    angle=st.floats(-1.2, 1.2),
    scale=st.floats(0.4, 5),
    shift=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
)
def test_points_in_the_crop_are_where_the_crop_shows_them(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    """The framing is written down twice, here for speed; this keeps both the same."""
    turned = scale * np.exp(1j * angle) * (np.array(face().landmarks) @ (1, 1j))
    points = tuple((float(p.real) + shift[0], float(p.imag) + shift[1]) for p in turned)
    side = 60 * scale
    some = Face((shift[0], shift[1], shift[0] + side, shift[1] + 1.2 * side), 0.9, points)
    (matrix,) = np.asarray(crop_similarities([some], size=64))
    expected = np.array(points) @ matrix[:, :2].T + matrix[:, 2]
    assert np.allclose([(64 * p.real, 64 * p.imag) for p in points_in_crop(some)], expected, atol=0.1)


def test_a_covered_mouth_or_covered_eyes_are_flagged() -> None:
    luma = np.random.default_rng(2).integers(90, 160, (200, 200)).astype(np.uint8)
    eyes, mouth = [(70, 80), (130, 80)], (100, 140)
    for x, y in [*eyes, mouth]:
        cv2.ellipse(luma, (x, y), (14, 6), 0, 0, 360, 20, -1)
    whole = Face((40, 30, 160, 180), 0.9, ((70, 80), (130, 80), (100, 112), (80, 140), (120, 140)), track_id=1)
    assert quality_flags(whole, crop_face(luma, whole)) == ()
    for corners in (((50, 120), (150, 165)), ((45, 62), (155, 98))):
        covered = cv2.rectangle(luma.copy(), *corners, color=100, thickness=-1)
        assert quality_flags(whole, crop_face(np.asarray(covered, np.uint8), whole)) == ("occluded",)


def test_what_cannot_be_told_is_no_occlusion() -> None:
    flat = np.full((64, 64), 120, np.uint8)
    assert covered_measures(face(), flat) == (np.inf, np.inf)
    far_off = Face((0, 0, 10, 10), 0.9, ((500, 500), (520, 500), (510, 510), (503, 520), (517, 520)))
    assert covered_measures(far_off, GOOD_CROP) == (np.inf, np.inf)
