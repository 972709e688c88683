"""A known picture moved by a known amount: the face must arrive where it was moved to."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.geometry.similarity import transform_points
from emostream.vision.track.flow import PATCH_SIDE_PIXELS, Window, cut_window, follow_faces, patch_of

EYE_DISTANCE_SHARE = 0.05  # the error allowed, in eye distances


def texture(width: int = 320, height: int = 240, *, seed: int = 0, detail: float = 2.5) -> Luma:
    noise = np.random.default_rng(seed).normal(size=(height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), detail)
    return np.asarray(np.clip(128 + smooth * 45 / smooth.std(), 0, 255), dtype=np.uint8)


def face_at(x: float, y: float, *, side: float = 60, track_id: int = 0) -> Face:
    points = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    left, top = x - side / 2, y - side / 2
    return Face(
        box_xyxy=(left, top, left + side, top + side),
        score=0.8,
        landmarks=tuple((left + side * px, top + side * py) for px, py in points),
        track_id=track_id,
    )


def movement(
    *, turn_degrees: float = 0, scale: float = 1, shift: tuple[float, float] = (0, 0)
) -> npt.NDArray[np.float64]:
    """A turn and growth about the point (160, 120), then a shift."""
    angle = np.deg2rad(turn_degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([160, 120])
    return np.column_stack([linear, centre + shift - linear @ centre])


def warped(luma: Luma, similarity: npt.NDArray[np.float64]) -> Luma:
    indexed = similarity.copy()  # OpenCV counts pixel centres in whole numbers
    indexed[:, 2] += similarity[:, :2] @ [0.5, 0.5] - 0.5
    size = (luma.shape[1], luma.shape[0])
    return np.asarray(cv2.warpAffine(luma, indexed, size, borderMode=cv2.BORDER_REFLECT), dtype=np.uint8)


@pytest.mark.parametrize(
    "similarity",
    [
        movement(),
        movement(shift=(3.3, -1.7)),
        movement(shift=(12, 6)),
        movement(turn_degrees=6),
        movement(scale=1.1),
        movement(scale=0.92, turn_degrees=-4, shift=(-5, 6)),
    ],
    ids=["still", "small shift", "large shift", "turn", "growth", "all"],
)
@pytest.mark.parametrize("side", [24.0, 60.0, 150.0], ids=lambda side: f"face of {side:.0f} px")
def test_face_goes_where_the_picture_goes(similarity: npt.NDArray[np.float64], side: float) -> None:
    if side < 60:  # the same shift in units of the face
        shift = transform_points(similarity, [(160, 120)])[0] - (160, 120)
        similarity = np.column_stack([similarity[:, :2], similarity[:, 2] - shift * (1 - side / 60)])
    luma = texture(detail=side / 24)
    face = face_at(160, 120, side=side)
    (moved,) = follow_faces([patch_of(luma, face)], warped(luma, similarity))
    assert moved is not None
    errors = np.linalg.norm(transform_points(similarity, face.landmarks) - moved.face.landmarks, axis=1)
    assert errors.max() < EYE_DISTANCE_SHARE * 0.4 * side
    assert moved.face.width == pytest.approx(face.width * np.hypot(*similarity[:, 0]), rel=0.03)
    assert (moved.face.found_by, moved.face.score, moved.face.track_id) == ("flow", 0.8, 0)


def test_ten_steps_hardly_drift() -> None:
    luma = texture()
    patch = patch_of(luma, face_at(100, 100))
    for index in range(1, 11):
        (moved,) = follow_faces([patch], warped(luma, movement(shift=(4 * index, 1.5 * index))))
        assert moved is not None
        patch = moved
    x0, y0, x1, y1 = patch.face.box_xyxy
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((140, 115), abs=1.0)


def test_another_picture_is_not_followed() -> None:
    patch = patch_of(texture(seed=1), face_at(160, 120))
    assert follow_faces([patch], texture(seed=2)) == [None]


def test_covered_face_is_not_followed() -> None:
    luma = texture()
    covered = luma.copy()
    covered[85:155, 140:200] = texture(seed=9)[85:155, 140:200]
    assert follow_faces([patch_of(luma, face_at(160, 120))], covered) == [None]


def test_faces_do_not_disturb_each_other() -> None:
    luma = texture()
    moved_luma = warped(luma, movement(shift=(2, 1)))
    near, far = face_at(60, 60, track_id=0), face_at(250, 180, side=40, track_id=1)
    together = follow_faces([patch_of(luma, near), patch_of(luma, far)], moved_luma)
    for face, patch in zip((near, far), together, strict=True):
        assert patch is not None
        np.testing.assert_allclose(patch.face.landmarks, np.add(face.landmarks, (2, 1)), atol=0.4)
    assert follow_faces([], moved_luma) == []


def test_face_that_leaves_the_frame_is_given_up() -> None:
    luma = texture()
    face = face_at(4, 120)
    assert follow_faces([patch_of(luma, face)], warped(luma, movement(shift=(-8, 0)))) == [None]


@pytest.mark.parametrize("shape", [(1, 1), (4, 300), (300, 4)], ids=str)
def test_tiny_frames_do_not_fail(shape: tuple[int, int]) -> None:
    luma = np.full(shape, 90, np.uint8)
    patch = patch_of(luma, face_at(2, 2, side=8))
    assert (patch.pixels == 90).all()
    follow_faces([patch], luma)


def test_window_repeats_the_border_and_averages_large_faces() -> None:
    luma = np.zeros((100, 100), np.uint8)
    luma[:, 0] = 255
    patch = cut_window(luma, Window(left=-36, top=10, side=PATCH_SIDE_PIXELS))
    assert (patch[:, :36] == 255).all()
    checkerboard = (np.indices((600, 600)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert (cut_window(checkerboard, Window(0, 0, 8 * PATCH_SIDE_PIXELS)) == 100).all()


@given(st.integers(1, 90), st.integers(1, 90), st.integers(-300, 300), st.integers(-300, 300))
def test_a_window_shows_the_border_wherever_it_is(width: int, height: int, left: int, top: int) -> None:
    """Also where it is wholly outside: reading pixels that are not there ends the process."""
    luma = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    rows, columns = (np.arange(start, start + PATCH_SIDE_PIXELS) for start in (top, left))
    expected = luma[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)]
    np.testing.assert_array_equal(cut_window(luma, Window(left, top, PATCH_SIDE_PIXELS)), expected)


def test_window_is_kept_while_the_face_fits() -> None:
    luma = texture()
    patch = patch_of(luma, face_at(160, 120))
    assert patch_of(luma, face_at(164, 118), window=patch.window).window is patch.window
    assert patch_of(luma, face_at(190, 120), window=patch.window).window != patch.window
    assert patch_of(luma, face_at(160, 120, side=90), window=patch.window).window != patch.window
