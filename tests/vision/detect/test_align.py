"""Transforms obey their laws; crops show what they should, at any size of face."""

from datetime import UTC, datetime

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.testing.fakes import face_at
from emostream.vision.classify import preprocess
from emostream.vision.detect.align import (
    CROP_SIZE_PIXELS,
    TEMPLATE_BOX,
    TEMPLATE_LANDMARKS,
    crop_face,
    crop_faces,
    crop_similarities,
)
from emostream.vision.geometry.similarity import scale_of, transform_points
from tests.vision.geometry.test_similarity import similarities

Points = npt.NDArray[np.float64]


def face_from(crop_to_frame: Points) -> Face:
    """The face whose crop is what this transform shows."""
    landmarks = transform_points(crop_to_frame, TEMPLATE_LANDMARKS)
    points = tuple((float(x), float(y)) for x, y in landmarks)
    ((x, y),) = transform_points(crop_to_frame, [(TEMPLATE_BOX[:2] + TEMPLATE_BOX[2:]) / 2])
    width, height = (TEMPLATE_BOX[2:] - TEMPLATE_BOX[:2]) * scale_of(crop_to_frame)
    box = (float(x - width / 2), float(y - height / 2), float(x + width / 2), float(y + height / 2))
    return Face(box_xyxy=box, score=0.9, landmarks=points)


def upright(scale: float, x: float, y: float) -> Points:
    return np.array([[scale, 0, x], [0, scale, y]], dtype=float)


def test_template_is_symmetric_and_has_the_classifiers_size() -> None:
    assert preprocess.CROP_SIZE_PIXELS == CROP_SIZE_PIXELS
    np.testing.assert_allclose(TEMPLATE_BOX[0] + TEMPLATE_BOX[2], CROP_SIZE_PIXELS)
    np.testing.assert_allclose(TEMPLATE_LANDMARKS[[0, 3], 0] + TEMPLATE_LANDMARKS[[1, 4], 0], CROP_SIZE_PIXELS)
    np.testing.assert_allclose(TEMPLATE_LANDMARKS[[0, 3], 1], TEMPLATE_LANDMARKS[[1, 4], 1])
    assert TEMPLATE_LANDMARKS[2, 0] == CROP_SIZE_PIXELS / 2


def test_crop_at_scale_one_is_the_pixels_themselves() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (120, 160), dtype=np.uint8)
    crop = crop_face(luma, face_from(upright(1, 30, 20)))
    np.testing.assert_array_equal(crop, luma[20:84, 30:94])


@pytest.mark.parametrize("scale", [1.6, 2.0, 3.3, 7.0, 20.0])
def test_large_face_is_averaged_not_sampled(scale: float) -> None:
    """Stripes one pixel wide must become gray; a smooth picture must stay where it is."""
    side = int(CROP_SIZE_PIXELS * scale) + 200
    stripes = np.zeros((side, side), np.uint8)
    stripes[:, ::2] = 200
    crop = crop_face(stripes, face_from(upright(scale, 90.3, 80.7)))
    assert abs(crop.astype(float) - 100).max() <= 70  # an odd factor leaves a third of the contrast
    rows, columns = np.indices((side, side))
    smooth = ((rows + 2 * columns) * (255 / (3 * side))).astype(np.uint8)
    crop = crop_face(smooth, face_from(upright(scale, 90.3, 80.7)))
    y, x = (np.indices(crop.shape) + 0.5) * scale + np.array([80.7, 90.3])[:, None, None] - 0.5
    np.testing.assert_allclose(crop, (y + 2 * x) * (255 / (3 * side)), atol=2)


@pytest.mark.parametrize("angle_degrees", [0, 20])
@pytest.mark.parametrize("scale", [1.3, 2.3, 3.1])
def test_pixels_are_means_over_their_area_where_the_frame_is_finer(scale: float, angle_degrees: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8)
    luma = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1), dtype=np.uint8)
    a, b = scale * np.cos(np.deg2rad(angle_degrees)), scale * np.sin(np.deg2rad(angle_degrees))
    crop_to_frame = np.array([[a, -b, 100.3], [b, a, 40.7]])
    # The truth: 16×16 samples for each pixel of a crop of side 48.
    fine = 48 * 16
    to_frame = crop_to_frame * [64 / fine, 64 / fine, 1]
    to_frame[:, 2] += to_frame[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    samples = cv2.warpAffine(luma.astype(np.float32), to_frame, (fine, fine), flags=flags)
    truth = samples.reshape(48, 16, 48, 16).mean(axis=(1, 3))
    face = face_from(crop_to_frame)
    averaged, sampled = (
        float(np.abs(crop_face(luma, face, size=48, is_averaged=each) - truth).mean()) for each in (True, False)
    )
    assert averaged < sampled / 2
    batch = crop_faces([frame_of(luma, is_full_range=True)], [[face]], size=48)
    np.testing.assert_array_equal(batch[0], crop_face(luma, face, size=48))


def test_a_frame_that_is_not_finer_is_not_blurred() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (120, 160), dtype=np.uint8)
    face = face_from(upright(0.6, 30, 20))
    np.testing.assert_array_equal(crop_face(luma, face), crop_face(luma, face, is_averaged=False))


def test_rotated_face_is_turned_upright() -> None:
    picture = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (64, 64), dtype=np.uint8), (9, 9), 2)
    angle, scale = np.deg2rad(30), 1.5
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    crop_to_frame = np.array([[a, -b, 120], [b, a, 60]])
    shift = crop_to_frame.copy()
    shift[:, 2] += crop_to_frame[:, :2] @ [0.5, 0.5] - 0.5
    frame = cv2.warpAffine(picture, shift, (300, 250))
    crop = crop_face(np.asarray(frame, np.uint8), face_from(crop_to_frame))
    assert abs(crop[4:-4, 4:-4].astype(float) - picture[4:-4, 4:-4]).mean() < 3


@pytest.mark.parametrize("scale", [1.0, 1.7, 6.0])
@pytest.mark.parametrize("size", [48, 96])
def test_another_side_shows_the_same_part_of_the_frame(size: int, scale: float) -> None:
    side = int(CROP_SIZE_PIXELS * scale) + 100
    rows, columns = np.indices((side, side))
    smooth = ((rows + 2 * columns) * (255 / (3 * side))).astype(np.uint8)
    crop = crop_face(smooth, face_from(upright(scale, 40.3, 30.7)), size=size)
    assert crop.shape == (size, size)
    step = scale * CROP_SIZE_PIXELS / size
    y, x = (np.indices(crop.shape) + 0.5) * step + np.array([30.7, 40.3])[:, None, None] - 0.5
    np.testing.assert_allclose(crop, (y + 2 * x) * (255 / (3 * side)), atol=2)


def test_border_is_repeated_outside_the_frame() -> None:
    luma = np.full((100, 100), 30, np.uint8)
    luma[:, 0] = 200
    crop = crop_face(luma, face_from(upright(1, -40, 10)))
    assert (crop[:, :40] == 200).all()


@given(similarities(), st.integers(1, 80), st.integers(1, 80))
def test_any_face_in_any_frame_gives_a_crop(similarity: Points, width: int, height: int) -> None:
    """Also far outside, also in a frame of one pixel; values never leave the frame's range."""
    luma = np.full((height, width), 77, np.uint8)
    crop = crop_face(luma, face_from(similarity))
    assert crop.shape == (64, 64)
    assert (crop == 77).all()


def test_writes_into_the_row_it_is_given() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (120, 160), dtype=np.uint8)
    luma.flags.writeable = False
    batch = np.zeros((3, 64, 64), np.uint8)
    face = face_from(upright(1.3, 10, 10))
    returned = crop_face(luma, face, out=batch[1])
    assert returned.base is batch
    np.testing.assert_array_equal(batch[1], crop_face(luma, face))
    assert not batch[[0, 2]].any()


def frame_of(luma: Luma, *, is_full_range: bool) -> Frame:
    return Frame("s", 0, 0.0, datetime(2026, 1, 1, tzinfo=UTC), luma, is_full_range=is_full_range)


def test_batch_holds_all_crops_in_order_and_full_range() -> None:
    luma = np.random.default_rng(0).integers(16, 236, (120, 160), dtype=np.uint8)
    faces = [face_from(upright(1, 5, 5)), face_from(upright(1, 60, 30))]
    full, limited = frame_of(luma, is_full_range=True), frame_of(luma, is_full_range=False)
    batch = crop_faces([full, limited, full], [faces, faces[:1], []])
    assert batch.shape == (3, 64, 64)
    np.testing.assert_array_equal(batch[1], crop_face(luma, faces[1]))
    np.testing.assert_array_equal(batch[2], limited.full_luma(batch[0]))
    assert crop_faces([full], [[]]).shape == (0, 64, 64)


@given(st.lists(similarities(), max_size=4))
def test_similarities_undo_how_each_face_stands(crop_to_frame: list[Points]) -> None:
    found = crop_similarities([face_from(similarity) for similarity in crop_to_frame])
    assert found.shape == (len(crop_to_frame), 2, 3)
    for similarity, back in zip(crop_to_frame, found, strict=True):
        np.testing.assert_allclose(
            transform_points(back, transform_points(similarity, TEMPLATE_LANDMARKS)), TEMPLATE_LANDMARKS, atol=1e-5
        )


def test_landmarks_in_one_place_leave_the_face_upright() -> None:
    face = Face(box_xyxy=(10, 10, 60, 70), score=0.9, landmarks=((30, 30),) * 5)
    (similarity,) = crop_similarities([face])
    assert similarity[1, 0] == 0
    assert similarity[0, 0] > 0


@pytest.mark.parametrize("size", [20.0, 40.0, 200.0])
def test_of_a_turned_view_the_crop_is_that_of_its_copy(size: float) -> None:
    stored = np.random.default_rng(4).integers(0, 256, (200, 240), dtype=np.uint8)
    view = np.asarray(cv2.GaussianBlur(stored, (0, 0), 2), dtype=np.uint8).T[:, ::-1]
    for left, top in ((60.0, 80.0), (-10.0, 190.0)):
        face = face_at(left, top, size=size)
        expected = crop_face(np.ascontiguousarray(view), face, size=48)
        np.testing.assert_allclose(crop_face(view, face, size=48).astype(int), expected.astype(int), atol=2)


@given(similarities())
def test_one_face_is_cut_as_several_are(crop_to_frame: Points) -> None:
    landmarks = transform_points(crop_to_frame, TEMPLATE_LANDMARKS)
    corners = transform_points(crop_to_frame, TEMPLATE_BOX.reshape(2, 2))
    low, high = corners.min(axis=0), corners.max(axis=0) + 1.0
    face = Face((low[0], low[1], high[0], high[1]), 0.9, tuple((x, y) for x, y in landmarks.tolist()))
    luma = np.random.default_rng(5).integers(0, 256, (120, 160), dtype=np.uint8)
    frame = Frame("test", 0, 0.0, datetime(2026, 1, 1, tzinfo=UTC), luma)
    (of_several,) = crop_faces([frame], [[face]], size=48)
    np.testing.assert_allclose(crop_face(luma, face, size=48).astype(int), of_several.astype(int), atol=1)
