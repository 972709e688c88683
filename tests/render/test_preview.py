"""Previews are small, show what they should, and hide whom they should."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from emostream.domain.event import EmotionEvent
from emostream.domain.face import BoxXyxy
from emostream.render.preview import blur_boxes, preview_jpeg, whole_picture
from tests.media import textured_picture
from tests.publish.samples import EVENT

WIDTH, HEIGHT = 1280, 720
BOX = (400.0, 200.0, 600.0, 450.0)


def event() -> EmotionEvent:
    face = EVENT.faces[0]
    found = replace(face, face=replace(face.face, box_xyxy=BOX))
    return replace(EVENT, faces=(found,), frame_width=WIDTH, frame_height=HEIGHT)


def decoded(jpeg: bytes) -> npt.NDArray[np.uint8]:
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


@pytest.fixture
def picture() -> npt.NDArray[np.uint8]:
    made = np.repeat(textured_picture(3, width=WIDTH, height=HEIGHT)[:, :, None], 3, axis=2)
    made.flags.writeable = False
    return made


def detail(picture: npt.NDArray[np.uint8]) -> float:
    """How much neighbouring pixels differ."""
    return float(np.abs(np.diff(picture.astype(np.int16), axis=1)).mean())


def test_large_pictures_are_made_small_with_their_boxes(picture: npt.NDArray[np.uint8]) -> None:
    plain = decoded(preview_jpeg(picture, event(), has_boxes=False))
    boxes = decoded(preview_jpeg(picture, event(), has_boxes=True))
    assert plain.shape == boxes.shape == (360, 640, 3)
    changed = np.abs(plain.astype(np.int16) - boxes).max(axis=2) > 60
    assert changed[225, 230:270].mean() > 0.9, "the lower line of the box, at half its size"
    assert not changed[300:, :].any()


def test_boxes_in_pixels_that_are_not_square_are_drawn_where_the_faces_are(picture: npt.NDArray[np.uint8]) -> None:
    stored = replace(event().scaled_to(width=WIDTH // 2, height=HEIGHT), pixel_aspect=2.0)
    assert stored.faces[0].box_xyxy == (200.0, 200.0, 300.0, 450.0)
    assert preview_jpeg(picture, stored, has_boxes=True) == preview_jpeg(picture, event(), has_boxes=True)


def test_small_pictures_keep_their_size() -> None:
    small = np.zeros((120, 160, 3), np.uint8)
    assert decoded(preview_jpeg(small, replace(EVENT, faces=()), has_boxes=True, covered=[BOX])).shape == small.shape


def test_faces_and_a_margin_around_them_are_made_unrecognisable(picture: npt.NDArray[np.uint8]) -> None:
    blurred = blur_boxes(picture, [BOX])
    inside = (slice(200, 450), slice(400, 600))
    assert detail(blurred[inside]) < detail(picture[inside]) / 5
    assert len(np.unique(blurred[inside].reshape(-1, 3), axis=0)) <= 36
    assert (blurred[140:200, 360:400] != picture[140:200, 360:400]).any(), "the margin is changed as well"
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[130:520, 340:660] = False
    assert (blurred[outside] == picture[outside]).all()


@pytest.mark.parametrize("box", [(-90.0, -90.0, -60.0, -60.0), (-5.0, 700.0, 5.0, 790.0), (0.0, 0.0, 0.5, 0.5)])
def test_faces_at_and_beyond_the_border(box: BoxXyxy, picture: npt.NDArray[np.uint8]) -> None:
    assert blur_boxes(picture, [box]).shape == picture.shape


def test_half_a_face_shows_no_finer_cells_than_a_whole_one(picture: npt.NDArray[np.uint8]) -> None:
    blurred = blur_boxes(picture, [(-100.0, 200.0, 100.0, 450.0)])
    columns = np.unique(blurred[200:450, :150].transpose(1, 0, 2).reshape(150, -1), axis=0)
    assert len(columns) <= 4, "three cells and what is beside them"


def test_a_picture_without_a_search_is_covered_as_a_whole(picture: npt.NDArray[np.uint8]) -> None:
    whole = [whole_picture(picture)]
    assert len(np.unique(blur_boxes(picture, whole).reshape(-1, 3), axis=0)) <= 36
    jpeg = preview_jpeg(picture, event(), has_boxes=False, covered=whole)
    assert detail(decoded(jpeg)) < detail(decoded(preview_jpeg(picture, event(), has_boxes=False))) / 5


def test_what_is_covered_is_scaled_with_the_picture(picture: npt.NDArray[np.uint8]) -> None:
    covered = decoded(preview_jpeg(picture, event(), has_boxes=False, covered=[BOX]))
    clear = decoded(preview_jpeg(picture, event(), has_boxes=False))
    inside, outside = (slice(100, 225), slice(200, 300)), (slice(280, 360), slice(0, 640))
    assert detail(covered[inside]) < detail(clear[inside]) / 3
    assert detail(covered[outside]) == pytest.approx(detail(clear[outside]), rel=0.05)
