"""The template is measured where the landmarks are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.detect.align import TEMPLATE_BOX, TEMPLATE_LANDMARKS
from training.tools.template import (
    PICTURE_SIDE_PIXELS,
    find_face,
    frame_with_picture,
    measure_template,
    picture_corner,
    symmetric,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)


class ScriptedDetector:
    """Finds one face after the other, each with its landmarks at these points of the crop; None is no face."""

    name = "scripted"

    def __init__(self, *answers: npt.NDArray[np.float64] | None) -> None:
        self._answers = list(answers)

    def detect(self, luma: Luma) -> list[Face]:
        """The next answer."""
        points = self._answers.pop(0)
        if points is None:
            return []
        in_frame = points * (PICTURE_SIDE_PIXELS / 64) + picture_corner()
        box = np.reshape(TEMPLATE_BOX, (2, 2)) + (points - TEMPLATE_LANDMARKS).mean(axis=0)
        (x0, y0), (x1, y1) = box * (PICTURE_SIDE_PIXELS / 64) + picture_corner()
        landmarks = tuple((float(x), float(y)) for x, y in in_frame)
        elsewhere = Face(box_xyxy=(0, 0, 20, 20), score=0.95, landmarks=landmarks)
        return [elsewhere, Face(box_xyxy=(x0, y0, x1, y1), score=0.9, landmarks=landmarks)]


def test_median_of_found_faces_in_crop_pixels() -> None:
    shifted = [np.add(TEMPLATE_LANDMARKS, (0, shift)) for shift in (-1.0, 0.5, 4.0)]
    template = measure_template(ScriptedDetector(shifted[0], None, shifted[1], shifted[2]), [PICTURE] * 4)
    assert (template.num_found, template.num_pictures) == (3, 4)
    np.testing.assert_allclose(template.landmarks, np.add(TEMPLATE_LANDMARKS, (0, 0.5)))
    np.testing.assert_allclose(template.box, np.add(TEMPLATE_BOX, (0, 0.5, 0, 0.5)))


def test_symmetric_is_its_own_mirror_image_and_idempotent() -> None:
    order = [1, 0, 2, 4, 3]
    points = symmetric(TEMPLATE_LANDMARKS + np.random.default_rng(1).normal(size=(5, 2)), order=order)
    np.testing.assert_allclose(points[[0, 3, 2], 0] + points[[1, 4, 2], 0], 64)
    np.testing.assert_allclose(symmetric(points, order=order), points)


def test_face_elsewhere_in_the_frame_is_not_the_picture() -> None:
    face = find_face(ScriptedDetector(TEMPLATE_LANDMARKS), frame_with_picture(PICTURE))
    assert face is not None
    assert face.score == 0.9


def test_no_face_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="2"):
        measure_template(ScriptedDetector(None, None), [PICTURE] * 2)


def test_picture_stands_in_the_middle_of_its_frame() -> None:
    left, top = picture_corner()
    frame = frame_with_picture(np.full((48, 48), 250, np.uint8))
    assert (frame[top : top + PICTURE_SIDE_PIXELS, left : left + PICTURE_SIDE_PIXELS] == 250).all()
    assert (frame == 250).sum() == PICTURE_SIDE_PIXELS**2
