"""A still picture is searched until no face that is wanted is too small, each face is found once, turned ones too."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emostream.cli.bench.demo_clip import load_portraits
from emostream.domain.face import BoxXyxy, Face
from emostream.domain.frame import Luma
from emostream.vision.detect.detector import FaceDetector
from emostream.vision.detect.picture_search import PictureSearch, merged, tiles_of
from emostream.vision.geometry.boxes import iou_matrix
from tests.vision.detect.bright_detector import BrightDetector, face_at, picture_with
from tests.vision.detect.real_model import real_detector

MIN_FACE_PIXELS = 24


def search_with(
    detector: FaceDetector, *, min_face_pixels: float = MIN_FACE_PIXELS, max_faces: int = 1000, is_turned: bool = True
) -> PictureSearch:
    return PictureSearch(
        detector,
        min_face_pixels=min_face_pixels,
        min_score=0.3,
        max_iou=0.3,
        max_faces=max_faces,
        is_turned=is_turned,
        num_threads=2,
    )


@st.composite
def crowds(draw: st.DrawFn) -> tuple[int, int, list[BoxXyxy]]:
    """Width, height and boxes that do not touch, from the smallest wanted one to half of the picture."""
    cell = draw(st.integers(40, 400))
    columns, rows = draw(st.integers(1, 1200 // cell)), draw(st.integers(1, 900 // cell))
    boxes: list[BoxXyxy] = []
    for column in range(columns):
        for row in range(rows):
            if not draw(st.booleans()) or len(boxes) >= 40:
                continue
            height = draw(st.integers(MIN_FACE_PIXELS + 2, cell - 4))
            width = max(round(height * 0.8), 1)
            left = column * cell + draw(st.integers(1, cell - 2 - width))
            top = row * cell + draw(st.integers(1, cell - 2 - height))
            boxes.append((left, top, left + width, top + height))
    return max(columns * cell, 64), max(rows * cell, 64), boxes


def boxes_of(faces: list[Face]) -> list[BoxXyxy]:
    return sorted(face.box_xyxy for face in faces)


@pytest.mark.heavy
@given(crowd=crowds())
@settings(max_examples=30, deadline=None)
def test_each_face_is_found_once_wherever_tiles_meet(crowd: tuple[int, int, list[BoxXyxy]]) -> None:
    width, height, boxes = crowd
    found = search_with(BrightDetector()).detect(picture_with(boxes, width=width, height=height))
    assert boxes_of(found) == sorted(boxes)


@given(crowd=crowds())
@settings(max_examples=15, deadline=None)
def test_heads_on_their_side_are_found_once(crowd: tuple[int, int, list[BoxXyxy]]) -> None:
    height, width, boxes = crowd
    lying = [(y0, x0, y1, x1) for x0, y0, x1, y1 in boxes]
    luma = picture_with(lying, width=width, height=height)
    found = search_with(BrightDetector()).detect(luma)
    assert boxes_of(found) == sorted(lying)
    assert all(
        x0 <= x <= x1 and y0 <= y <= y1
        for face in found
        for x, y in face.landmarks
        for x0, y0, x1, y1 in [face.box_xyxy]
    )
    assert search_with(BrightDetector(), is_turned=False).detect(luma) == []


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), wanted=st.floats(12, 400))
@settings(max_examples=60, deadline=None)
def test_tiles_cover_the_picture_and_show_the_smallest_face(width: int, height: int, wanted: float) -> None:
    smallest_face = BrightDetector().smallest_face_pixels
    tiles = tiles_of(width, height, min_face_pixels=wanted, smallest_face=smallest_face)
    if not tiles:
        assert smallest_face(width, height) <= max(wanted, smallest_face(64, 64)) * 1.03
        return
    finest = [tile for tile in tiles if tile.bottom - tile.top == tiles[-1].bottom - tiles[-1].top]
    for length, spans in (
        (width, {(tile.left, tile.right) for tile in finest}),
        (height, {(tile.top, tile.bottom) for tile in finest}),
    ):
        in_order = sorted(spans)
        assert in_order[0][0] == 0 and in_order[-1][1] == length
        assert all(after[0] < before[1] for before, after in itertools.pairwise(in_order))
    tile = tiles[-1]
    assert smallest_face(tile.right - tile.left, tile.bottom - tile.top) <= max(wanted, smallest_face(64, 64)) * 1.03


def test_a_picture_that_one_search_suffices_for_is_searched_as_a_frame_is() -> None:
    luma = picture_with([(20, 20, 60, 70)], width=150, height=150)
    detector = BrightDetector(score=0.35)
    assert search_with(detector, is_turned=False).detect(luma) == detector.detect(luma)


def test_faces_beyond_the_limit_are_counted() -> None:
    boxes = [(float(x), 10.0, x + 24.0, 40.0) for x in range(10, 510, 50)]
    search = search_with(BrightDetector(), max_faces=7)
    assert len(search.detect(picture_with(boxes, width=520, height=60))) == 7
    assert search.num_left_out == 3


def test_an_empty_picture_has_no_faces() -> None:
    assert search_with(BrightDetector()).detect(np.zeros((0, 5), np.uint8)) == []


def test_a_detector_that_does_not_say_its_limits_searches_the_whole_only() -> None:
    sizes: set[tuple[int, ...]] = set()

    class Plugin:
        name = "plugin"

        def detect(self, luma: Luma) -> list[Face]:
            sizes.add(luma.shape)
            return []

    search_with(Plugin()).detect(np.zeros((2000, 3000), np.uint8))
    assert sizes == {(2000, 3000), (3000, 2000)}


def test_of_two_searches_the_better_face_stays_and_parts_of_it_go() -> None:
    face, shifted = face_at((100, 100, 180, 200)), face_at((104, 98, 186, 204), score=0.95)
    eye = face_at((110, 130, 130, 155), score=0.99)
    neighbour = face_at((190, 100, 270, 200), score=0.4)
    assert merged([[face], [eye, shifted], [neighbour]], max_iou=0.3) == [shifted, neighbour]


@pytest.mark.slow
def test_small_faces_of_a_group_picture_and_turned_heads_by_the_real_detector() -> None:
    width, height, face_pixels = 1920, 1280, 46
    rng = np.random.default_rng(3)
    noise = rng.integers(60, 160, (height // 16, width // 16), dtype=np.uint8)
    luma = np.asarray(cv2.resize(noise, (width, height)), dtype=np.uint8)
    heads = [
        np.asarray(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        for picture in load_portraits()
    ]
    detector = real_detector()
    faces = [detector.detect(head)[0] for head in heads]
    boxes = []
    for number in range(12):
        head, face = heads[number % len(heads)], faces[number % len(heads)]
        scale = face_pixels / face.height
        small = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        left, top = 40 + (number % 4) * 470, 40 + (number // 4) * 410
        luma[top : top + small.shape[0], left : left + small.shape[1]] = small
        boxes.append(np.array(face.box_xyxy) * scale + (left, top, left, top))
    assert detector.detect(luma) == []
    for quarters in (0, 1):
        turned = np.ascontiguousarray(np.rot90(luma, quarters))
        found = search_with(detector, min_face_pixels=32).detect(turned)
        upright = [_turned_box(face.box_xyxy, quarters, width=width) for face in found]
        overlaps = iou_matrix(np.array(boxes), np.array(upright))
        assert (overlaps.max(axis=1) > 0.4).sum() >= 12
        assert (overlaps.max(axis=0) <= 0.4).sum() <= 1


def _turned_box(box: BoxXyxy, quarters: int, *, width: int) -> BoxXyxy:
    """A box in the picture turned once counterclockwise, back by hand: x is what y was counted from the right."""
    x0, y0, x1, y1 = box
    return box if quarters == 0 else (width - y1, x0, width - y0, x1)
