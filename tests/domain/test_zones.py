"""Zones: which faces are in them, and which are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.stream import StreamKind, StreamSpec
from emostream.domain.zones import Zone, zone_from, zones_of
from emostream.errors import ConfigError

LEFT = Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
TRIANGLE = Zone("triangle", ((0.5, 0.1), (0.9, 0.9), (0.1, 0.9)))
fractions = st.floats(0, 1)
angles = st.lists(st.floats(0, 2 * math.pi), min_size=3, max_size=12, unique=True)


def regular(corners: list[float]) -> Zone:
    """Corners on a circle around the middle, in order: a convex polygon."""
    return Zone("round", tuple((0.5 + 0.4 * math.cos(a), 0.5 + 0.4 * math.sin(a)) for a in sorted(corners)))


@given(fractions, fractions)
def test_a_rectangle_holds_what_is_between_its_sides(x: float, y: float) -> None:
    if x != 0.5 and 0 < y < 1 and x > 0:
        assert LEFT.contains(x, y) == (x < 0.5)


@given(angles, fractions, fractions)
def test_neither_turning_nor_reversing_the_corners_matters(corners: list[float], x: float, y: float) -> None:
    zone = regular(corners)
    turned = Zone("turned", zone.polygon[1:] + zone.polygon[:1])
    reversed_zone = Zone("reversed", zone.polygon[::-1])
    inside = zone.contains(x, y)
    if _distance_to_edges(zone, x, y) > 1e-9:
        assert inside == turned.contains(x, y) == reversed_zone.contains(x, y)


@given(angles, fractions, fractions)
def test_nothing_outside_the_hull_is_inside(corners: list[float], x: float, y: float) -> None:
    if math.hypot(x - 0.5, y - 0.5) > 0.4 + 1e-9:
        assert not regular(corners).contains(x, y)


def _distance_to_edges(zone: Zone, x: float, y: float) -> float:
    distances = []
    for (x0, y0), (x1, y1) in zip(zone.polygon, zone.polygon[1:] + zone.polygon[:1], strict=True):
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = min(1.0, max(0.0, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length)) if length else 0.0
        distances.append(math.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
    return min(distances)


def test_the_middle_of_the_box_decides_at_every_resolution() -> None:
    for scale in (1, 2):
        box = (90.0 * scale, 40.0 * scale, 100.0 * scale, 60.0 * scale)
        found = zones_of(box, (LEFT, TRIANGLE), frame_width=200 * scale, frame_height=100 * scale)
        assert found == ("left", "triangle")
    assert zones_of((150, 0, 190, 4), (LEFT, TRIANGLE), frame_width=200, frame_height=100) == ()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"name": "a"},
        {"name": "", "polygon": [[0, 0], [1, 0], [1, 1]]},
        {"name": "a" * 65, "polygon": [[0, 0], [1, 0], [1, 1]]},
        {"name": "a", "polygon": [[0, 0], [1, 0]]},
        {"name": "a", "polygon": [[0, 0], [1, 0], [1, 2]]},
        {"name": "a", "polygon": [[0, 0], [1, 0], [1, float("nan")]]},
        {"name": "a", "polygon": [[0, 0], [1, 0], [1]]},
        {"name": "a", "polygon": "door"},
        {"name": "a", "polygon": [[0, 0], [1, 0], [1, 1]], "colour": "red"},
        {"name": 5, "polygon": [[0, 0], [1, 0], [1, 1]]},
    ],
    ids=str,
)
def test_what_is_no_zone_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        zone_from(value)


def test_a_stream_takes_zones_as_mappings_and_refuses_two_of_one_name() -> None:
    corners = {"name": "door", "polygon": [[0, 0], [1, 0], [1, 1]]}
    spec = StreamSpec("a", "a.mp4", kind=StreamKind.FILE, zones=(corners,))  # type: ignore[arg-type]
    assert spec.zones == (Zone("door", ((0, 0), (1, 0), (1, 1))),)
    with pytest.raises(ConfigError):
        StreamSpec("a", "a.mp4", kind=StreamKind.FILE, zones=spec.zones * 2)
    with pytest.raises(ConfigError, match="64"):
        StreamSpec("a", "a.mp4", kind=StreamKind.FILE, zones=tuple(Zone(str(i), LEFT.polygon) for i in range(65)))
