"""Zones as values in the console: corners set, moved and removed, and what is said of zones that are not right."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from emostream.domain.zones import Zone, check_zones
from emostream.errors import ConfigError

pytestmark = pytest.mark.integration

SQUARE = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]
SCREEN = {"width": 640, "height": 360, "reach": 10}


def call(page: Page, name: str, *arguments: Any) -> Any:
    """What a function of the module gives."""
    code = 'async ([name, given]) => (await import("/console/zone_shapes.js"))[name](...given)'
    return page.evaluate(code, [name, list(arguments)])


def test_corners_are_inside_the_picture_and_have_few_digits(files_page: Page) -> None:
    assert call(files_page, "cornerAt", 0.123456, 1 / 3) == [0.1235, 0.3333]
    assert call(files_page, "cornerAt", -0.1, 7) == [0, 1]


@pytest.mark.parametrize(
    ("polygon", "corner", "index"),
    [
        ([], [0.5, 0.5], 0),
        (SQUARE[:2], [0.5, 0.2], 2),  # on the line of two corners: it goes on
        (SQUARE, [0.5, 0.21], 1),  # near the upper side
        (SQUARE, [0.8, 0.5], 2),
        (SQUARE, [0.2, 0.5], 4),  # the side that closes it
        (SQUARE, [0.5, 0.5], 4),  # near none: at the end
        (SQUARE, [0.99, 0.2], 4),  # on the prolongation of a side, but not on it
    ],
)
def test_a_corner_is_set_into_a_near_side_or_at_the_end(
    files_page: Page, polygon: list[list[float]], corner: list[float], index: int
) -> None:
    found = call(files_page, "withCorner", polygon, corner, SCREEN)
    assert found == {"polygon": [*polygon[:index], corner, *polygon[index:]], "index": index}


def test_corners_are_moved_and_removed(files_page: Page) -> None:
    assert call(files_page, "withMoved", SQUARE, 1, [0.9, 0.1])[1] == [0.9, 0.1]
    assert call(files_page, "withoutCorner", SQUARE, 0) == SQUARE[1:]


def test_new_zones_have_names_of_their_own(files_page: Page) -> None:
    assert call(files_page, "freeName", []) == "zone 1"
    assert call(files_page, "freeName", [{"name": "door"}, {"name": "zone 3"}]) == "zone 4"


CASES = [
    [{"name": "door", "polygon": SQUARE}],
    [{"name": "", "polygon": SQUARE}],
    [{"name": "é" * 64, "polygon": SQUARE[:3]}],
    [{"name": "x" * 65, "polygon": SQUARE}],
    [{"name": "door", "polygon": SQUARE[:2]}],
    [{"name": "door", "polygon": SQUARE * 17}],
    [{"name": "door", "polygon": SQUARE}, {"name": "hall", "polygon": SQUARE}, {"name": "door", "polygon": SQUARE}],
    [{"name": f"zone {number}", "polygon": SQUARE} for number in range(64)],
    [{"name": f"zone {number}", "polygon": SQUARE} for number in range(65)],
]


@pytest.mark.parametrize("zones", CASES, ids=range(len(CASES)))
def test_what_the_service_refuses_is_said_before(files_page: Page, zones: list[dict[str, Any]]) -> None:
    try:
        check_zones([Zone(zone["name"], tuple(map(tuple, zone["polygon"]))) for zone in zones])
        is_right = True
    except ConfigError:
        is_right = False
    problems = call(files_page, "problemsOf", zones)
    assert len(problems) == len(zones)
    assert is_right is not any(each["name"] or each["polygon"] for each in problems)


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("body.zones.1.name", {"index": 1, "part": "name"}),
        ("body.zones.0.polygon", {"index": 0, "part": "polygon"}),
        ("body.zones.12.polygon.3.0", {"index": 12, "part": "polygon"}),
        ("body.zones", None),
        ("body.every", None),
        ("body", None),
    ],
)
def test_which_zone_an_error_is_about(files_page: Page, where: str, place: dict[str, Any] | None) -> None:
    assert call(files_page, "placeOf", where) == place
