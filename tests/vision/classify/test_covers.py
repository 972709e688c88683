"""The net that sees covered faces: real pictures, with and without something before the face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from emostream.vision.classify.covers import OPEN, covered_parts
from emostream.vision.detect.align import CROP_SIZE_PIXELS, TEMPLATE_LANDMARKS
from emostream.vision.engines import reference_inputs

Crops = npt.NDArray[np.uint8]
EYES = TEMPLATE_LANDMARKS[:2] / CROP_SIZE_PIXELS
MOUTH = TEMPLATE_LANDMARKS[3:].mean(axis=0) / CROP_SIZE_PIXELS
LEVELS = (20, 90, 160, 230)


@pytest.fixture(scope="module")
def faces() -> list[Crops]:
    """Two people as the classifier sees them, one with glasses."""
    both = cv2.imread(str(Path(reference_inputs.__file__).with_name("reference-faces.png")), cv2.IMREAD_GRAYSCALE)
    assert both is not None
    return [np.asarray(part, np.uint8) for part in np.split(both, 2, axis=1)]


def at(face: Crops, point: npt.NDArray[np.float64]) -> tuple[int, int]:
    """A point of a crop of side 1, in pixels of a face."""
    return round(float(point[0]) * face.shape[1]), round(float(point[1]) * face.shape[0])


def mask(face: Crops, level: int) -> Crops:
    """Plain cloth from the nose down."""
    side = len(face)
    corners = np.array([[0.12, 0.6], [0.5, 0.53], [0.88, 0.6], [0.8, 0.85], [0.5, 0.98], [0.2, 0.85]]) * side
    covered = face.copy()
    cv2.fillPoly(covered, [np.round(corners).astype(np.int32)], level)
    return covered


def striped_mask(face: Crops, level: int) -> Crops:
    """The same with stripes of another shade."""
    covered, rows = mask(face, level), np.arange(len(face))[:, None] // 4 % 2 == 1
    covered[(covered != face) & rows] = (level + 90) % 256
    return covered


def cup(face: Crops, level: int) -> Crops:
    """A cup before the mouth."""
    x, y = at(face, MOUTH)
    half = round(0.2 * len(face))
    return np.asarray(cv2.rectangle(face.copy(), (x - half, y - half + 3), (x + half, y + half), level, -1), np.uint8)


def sunglasses(face: Crops, level: int) -> Crops:
    """Two dark lenses."""
    covered = face.copy()
    for eye in EYES:
        cv2.ellipse(
            covered, at(face, eye), (round(0.17 * len(face)), round(0.12 * len(face))), 0, 0, 360, level // 5, -1
        )
    cv2.line(covered, at(face, EYES[0]), at(face, EYES[1]), level // 5, 3)
    return covered


def hat(face: Crops, level: int) -> Crops:
    """Something over the forehead, which hides nothing."""
    return np.asarray(cv2.rectangle(face.copy(), (0, 0), (len(face), round(0.18 * len(face))), level, -1), np.uint8)


@pytest.mark.parametrize("size", [48, 64, 96])
def test_open_faces_are_open(faces: list[Crops], size: int) -> None:
    crops = [np.asarray(cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA), np.uint8) for face in faces]
    crops += [hat(crop, level) for crop in crops for level in LEVELS]
    assert all(max(found) < 0.5 for found in covered_parts(np.array(crops)))


@pytest.mark.parametrize("cover", [mask, striped_mask, cup])
def test_a_covered_mouth_is_seen(faces: list[Crops], cover: Callable[[Crops, int], Crops]) -> None:
    found = covered_parts(np.array([cover(face, level) for face in faces for level in LEVELS]))
    assert all(each.mouth > 0.5 for each in found), found


def test_covered_eyes_are_seen(faces: list[Crops]) -> None:
    found = covered_parts(np.array([sunglasses(face, level) for face in faces for level in LEVELS]))
    assert all(each.eyes > 0.5 for each in found), found


def test_what_shows_nothing_is_not_covered() -> None:
    assert covered_parts(np.full((2, 48, 48), 120, np.uint8)) == [OPEN, OPEN]
    assert covered_parts(np.empty((0, 48, 48), np.uint8)) == []


def test_small_crops_have_no_covers(faces: list[Crops]) -> None:
    small = np.array([cv2.resize(mask(face, 160), (16, 16)) for face in faces], np.uint8)
    assert covered_parts(small) == [OPEN, OPEN]
