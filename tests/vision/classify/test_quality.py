"""Each flag answers to its own cause, and what hides the expression forbids to name one."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.event import QualityFlag
from emostream.domain.face import Face
from emostream.vision.classify.covers import OPEN, Covered
from emostream.vision.classify.quality import Quality, quality_of, sharpness

# Large shapes with fine detail, as a face has.
GOOD_CROP = (np.indices((48, 48)).sum(axis=0) + np.random.default_rng(5).integers(0, 100, (48, 48))).astype(np.uint8)
BLURRED = np.asarray(cv2.GaussianBlur(GOOD_CROP, (0, 0), 1.5), np.uint8)
SMEARED = np.asarray(cv2.GaussianBlur(GOOD_CROP, (0, 0), 6), np.uint8)
FLAT = np.full((48, 48), 120, np.uint8)
FACE = Face((20, 20, 60, 100), 0.9, ((30, 50), (50, 50), (40, 62), (33, 72), (47, 72)))
SMALL_FACE = replace(FACE, box_xyxy=(20, 35, 60, 65))


def measured(
    face: Face = FACE,
    crop: npt.NDArray[np.uint8] = GOOD_CROP,
    *,
    size: tuple[int, int] = (640, 480),
    yaw: float = 0.0,
    pitch: float = 0.0,
    covered: Covered = OPEN,
) -> Quality:
    """The quality of a face in the middle of a frame, but for what is said."""
    width, height = size
    return quality_of(
        face,
        crop,
        frame_width=width,
        frame_height=height,
        yaw_degrees=yaw,
        pitch_degrees=pitch,
        covered=covered,
    )


def test_a_good_face_has_no_flag() -> None:
    assert measured() == Quality((), is_readable=True)


@pytest.mark.parametrize(
    ("quality", "flag", "is_readable"),
    [
        (measured(SMALL_FACE), "small", True),
        (measured(crop=BLURRED), "blurred", True),
        (measured(crop=SMEARED), "blurred", False),
        (measured(crop=FLAT), "blurred", False),
        (measured(crop=GOOD_CROP // 4), "dark", True),
        (measured(crop=GOOD_CROP // 20), "dark", False),
        (measured(yaw=-35), "profile", True),
        (measured(yaw=80), "profile", False),
        (measured(pitch=25), "pitched", True),
        (measured(pitch=-45), "pitched", False),
        (measured(covered=Covered(0.9, 0.1)), "occluded", False),
        (measured(covered=Covered(0.1, 0.9)), "occluded", False),
        (measured(size=(640, 74)), "cut", False),
    ],
    ids=[
        *("small", "blurred", "smeared", "flat", "dark", "very dark", "turned left", "full profile"),
        *("looks up", "looks down", "eyes covered", "mouth covered", "mouth outside"),
    ],
)
def test_flag(quality: Quality, flag: QualityFlag, is_readable: bool) -> None:
    assert quality == Quality((flag,), is_readable)


@pytest.mark.parametrize(
    ("box", "is_cut"),
    [
        ((0, 0, 640, 480), False),
        ((0, 0, 640, 82), False),  # the chin is outside
        ((0, 0, 640, 74), True),
        ((0, 45, 640, 480), False),  # the forehead is
        ((0, 49, 640, 480), True),
        ((26, 0, 640, 480), False),  # the ears are
        ((31, 0, 640, 480), True),
        ((0, 0, 54, 480), False),
        ((0, 0, 49, 480), True),
    ],
)
@pytest.mark.parametrize("is_on_its_side", [False, True], ids=["upright", "on its side"])
def test_a_face_is_cut_where_eyes_or_mouth_reach_over_the_border(
    box: tuple[int, int, int, int], is_cut: bool, is_on_its_side: bool
) -> None:
    left, top, right, bottom = box
    face = Face((20 - left, 20 - top, 60 - left, 100 - top), 0.9, tuple((x - left, y - top) for x, y in FACE.landmarks))
    width, height = right - left, bottom - top
    if is_on_its_side:  # turned by a quarter: x becomes height − y
        x0, y0, x1, y1 = face.box_xyxy
        points = tuple((height - y, x) for x, y in face.landmarks)
        face, width, height = Face((height - y1, x0, height - y0, x1), 0.9, points), height, width
    assert ("cut" in measured(face, size=(width, height)).flags) == is_cut


def test_landmarks_in_one_place_are_no_cut() -> None:
    odd = replace(FACE, landmarks=((3, 3),) * 5)
    assert measured(odd) == Quality((), is_readable=True)


@given(st.sampled_from([64, 96]), st.floats(0.5, 2))
def test_sharpness_hardly_depends_on_size_and_not_on_contrast(side: int, gain: float) -> None:
    wave = 128 + 60 * np.sin(np.linspace(0, 8 * np.pi, 192))
    picture = np.tile(wave, (192, 1)).astype(np.uint8)
    crops = [np.asarray(cv2.resize(picture, (s, s), interpolation=cv2.INTER_AREA), np.uint8) for s in (48, side)]
    first, second = (sharpness(crop) for crop in crops)
    assert second == pytest.approx(first, rel=0.3)
    stronger = np.clip(128 + gain * (crops[0].astype(float) - 128), 0, 255).astype(np.uint8)
    assert sharpness(stronger) == pytest.approx(first, rel=0.1)
