"""The sheet of an explanation: everything is on it, whatever the picture's size; heat maps leave weak places alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from emostream.errors import ConfigError
from emostream.render.explanation import draw_explanations
from emostream.render.heat_map import draw_heat_map, draw_scale
from emostream.render.png import png_bytes, write_png
from emostream.vision.explain.explanation import Explanation
from tests.vision.explain.test_explainer import explain


def numbered(number: int) -> Explanation:
    explanation = explain()
    return replace(explanation, face=replace(explanation.face, track_id=number))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 48), (360, 640), (3000, 200)])
def test_a_sheet_for_pictures_of_every_size(height: int, width: int) -> None:
    picture = np.full((height, width, 3), 90, np.uint8)
    picture.flags.writeable = False
    explanation = numbered(1)
    sheet = draw_explanations(picture, [explanation], faces=[explanation.face], model="m 1")
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (1040, 3)


def test_each_explanation_adds_a_row_and_other_faces_only_a_box() -> None:
    picture = np.zeros((360, 640, 3), np.uint8)
    first, second = numbered(1), numbered(2)
    one = draw_explanations(picture, [first], faces=[first.face, second.face], model="m 1")
    two = draw_explanations(picture, [first, second], faces=[first.face, second.face], model="m 1")
    assert two.shape[0] > one.shape[0] > picture.shape[0]


def test_a_heat_map_colours_the_strong_and_leaves_the_rest_gray() -> None:
    gray = np.full((16, 16), 100, np.uint8)
    values = np.full((16, 16), -1.0, np.float32)
    values[4:8, 4:8] = 2.0
    drawn = draw_heat_map(gray, values, size=64)
    assert drawn.shape == (64, 64, 3)
    assert (drawn[40:, 40:] == 100).all()
    _, green, blue = (int(level) for level in drawn[24, 24])
    assert green > 150
    assert blue < 120


def test_a_map_without_evidence_is_the_plain_picture() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (draw_heat_map(gray, np.zeros((16, 16), np.float32), size=16) == gray[:, :, None]).all()


def test_the_scale_begins_with_nothing() -> None:
    scale = draw_scale(width=50, height=6)
    assert scale.shape == (6, 50, 3)
    assert (scale[:, 0] == 128).all()
    assert (scale[:, -1] != 128).any()


def test_a_png_is_complete_or_not_there(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, size=(5, 7, 3), dtype=np.uint8)
    write_png(rgb, tmp_path / "a.png")
    read = np.asarray(cv2.imdecode(np.fromfile(tmp_path / "a.png", np.uint8), cv2.IMREAD_COLOR))
    assert (read[:, :, ::-1] == rgb).all()
    assert png_bytes(rgb[:, :, 0]).startswith(b"\x89PNG")
    with pytest.raises(ConfigError):
        write_png(rgb, tmp_path / "missing" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigError):
        write_png(rgb, tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "folder.png"]
