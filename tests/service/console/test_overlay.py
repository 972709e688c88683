"""The console's canvas follows the rules of annotated videos: the same places for labels, looked at in a browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from emostream.domain.emotion import EMOTIONS
from emostream.render.label_places import Area, Label, Place, Room, place_labels
from emostream.render.palette import colour_of, hex_of
from tests.service.console.conftest import keep_picture

pytestmark = pytest.mark.integration

PLACE = """async (cases) => {
  const { placeLabels } = await import("/console/label_places.js");
  return cases.map(({ labels, picture, moved }) => {
    const first = placeLabels(labels, picture);
    const earlier = new Map(labels.map((label, index) => [label.key, first[index]]));
    return [first, placeLabels(moved.labels, moved.picture, earlier)];
  });
}"""

COLOURS = """async ([labels, names]) => {
  const { colourOf, loadPalette, useLabels } = await import("/console/palette.js");
  await loadPalette();
  useLabels(labels);
  return names.map(colourOf);
}"""

DRAW = """async (event) => {
  const { drawEvent } = await import("/console/overlay.js");
  const { loadPalette } = await import("/console/palette.js");
  await loadPalette();
  const canvas = document.querySelector("canvas");
  const context = canvas.getContext("2d");
  context.fillStyle = "#5a6a5a";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const labels = drawEvent(context, event, { left: 20, top: 10, width: 1200, height: 675 }, { isSmall: false });
  return [...labels.values()].filter(Boolean).length;
}"""


def _faces(rng: np.random.Generator, *, number: int, width: int, height: int) -> list[Area]:
    corners = rng.integers((-20, -20), (width, height), size=(number, 2))
    sides = rng.integers(8, 90, size=number)
    return [Area.at(int(x), int(y), int(side), int(side)) for (x, y), side in zip(corners, sides, strict=True)]


def _labels(faces: list[Area]) -> list[Label]:
    return [Label(box, 40 + 7 * (number % 9), 20, gap=3, key=number) for number, box in enumerate(faces)]


def _for_browser(faces: list[Area], *, width: int, height: int) -> dict[str, Any]:
    labels = [
        {"box": label.box._asdict(), "width": label.width, "height": label.height, "gap": label.gap, "key": label.key}
        for label in _labels(faces)
    ]
    return {
        "labels": labels,
        "picture": {"width": width, "height": height, "faces": [face._asdict() for face in faces]},
    }


def _by_browser(place: dict[str, Any] | None) -> tuple[Area, str] | None:
    return None if place is None else (Area(**place["area"]), place["side"])


def _by_python(place: Place | None) -> tuple[Area, str] | None:
    return None if place is None else (place.area, place.side.value)


def test_labels_lie_where_annotated_videos_have_them(files_page: Page) -> None:
    rng = np.random.default_rng(16)
    cases, expected = [], []
    for number, (width, height) in [
        (1, (640, 360)),
        (5, (320, 180)),
        (30, (640, 360)),
        (60, (1280, 720)),
        (40, (200, 90)),
    ]:
        faces = _faces(rng, number=number, width=width, height=height)
        moved = [Area(*(value + int(rng.integers(-2, 3)) for value in face)) for face in faces]
        cases.append(
            _for_browser(faces, width=width, height=height) | {"moved": _for_browser(moved, width=width, height=height)}
        )
        before = place_labels(_labels(faces), Room(width, height, faces=faces))
        after = place_labels(_labels(moved), Room(width, height, faces=moved), earlier=dict(enumerate(before)))
        expected.append([list(map(_by_python, before)), list(map(_by_python, after))])
    found = files_page.evaluate(PLACE, cases)
    assert [[list(map(_by_browser, each)) for each in case] for case in found] == expected


def test_a_crowd_on_the_canvas_has_labels_and_a_picture_for_people(files_page: Page) -> None:
    emotions = ("happy", "neutral", "sad", "unknown", "angry")
    faces = [
        {
            "box_xyxy": [40 + 150 * (at % 8), 60 + 160 * (at // 8), 90 + 150 * (at % 8), 120 + 160 * (at // 8)],
            "dominant": emotions[at % 5],
            "confidence": 0.5,
            "smoothed_probabilities": dict.fromkeys(emotions, 0.2),
            "track_id": at,
        }
        for at in range(32)
    ]
    num_labels = files_page.evaluate(DRAW, {"frame_width": 1280, "frame_height": 720, "faces": faces})
    assert num_labels == 32
    keep_picture(files_page, "crowd-labels")


@pytest.mark.parametrize("labels", [["calm", "cross", "glad"], ["happy", "calm", "sad", "bored"], list(EMOTIONS)])
def test_classes_have_the_colours_of_annotated_videos(files_page: Page, labels: list[str]) -> None:
    names = [*labels, "another", "unknown"]
    assert files_page.evaluate(COLOURS, [labels, names]) == [hex_of(colour_of(name, labels)) for name in names]
