"""Zones: named parts of the picture, and the faces inside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emostream.domain.face import BoxXyxy
from emostream.errors import ConfigError

Point = tuple[float, float]

_MAX_NAME_LENGTH = 64
_MAX_CORNERS = 64


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon in the picture.

    Attributes:
        name: 1–64 characters; faces in the zone carry it.
        polygon: corners (x, y) as fractions of the picture's width and height, independent of the resolution; (0, 0) is
            the top left. The last corner is joined to the first. Self-intersecting polygons use the even-odd rule.

    Raises:
        ConfigError: the name is empty or too long, there are fewer than 3 or too many corners, or a corner is outside
            the picture.
    """

    name: str
    polygon: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= _MAX_NAME_LENGTH:
            raise ConfigError(f"a zone needs a name of 1–{_MAX_NAME_LENGTH} characters, got {self.name!r}")
        if not 3 <= len(self.polygon) <= _MAX_CORNERS:
            raise ConfigError(f"zone {self.name!r} needs 3–{_MAX_CORNERS} corners, got {len(self.polygon)}")
        for x, y in self.polygon:
            if not (0 <= x <= 1 and 0 <= y <= 1):
                raise ConfigError(
                    f"zone {self.name!r} has a corner at ({x}, {y}); give fractions of width and height in 0…1"
                )

    def contains(self, x: float, y: float) -> bool:
        """Whether a point, in fractions of width and height, is inside.

        >>> Zone("left half", ((0, 0), (0.5, 0), (0.5, 1), (0, 1))).contains(0.2, 0.9)
        True
        """
        inside = False
        previous_x, previous_y = self.polygon[-1]
        for corner_x, corner_y in self.polygon:
            if (corner_y > y) != (previous_y > y):
                crossing = corner_x + (y - corner_y) * (previous_x - corner_x) / (previous_y - corner_y)
                inside ^= x < crossing
            previous_x, previous_y = corner_x, corner_y
        return inside


def check_zones(zones: Sequence[Zone]) -> None:
    """Raise `ConfigError` when two zones of a stream have the same name, or there are too many."""
    names = [zone.name for zone in zones]
    if len(names) > _MAX_CORNERS:
        raise ConfigError(f"a stream may have at most {_MAX_CORNERS} zones, got {len(names)}")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two zones are named {name!r}; the names of a stream's zones must differ")


def zones_of(box_xyxy: BoxXyxy, zones: Sequence[Zone], *, frame_width: int, frame_height: int) -> tuple[str, ...]:
    """Names of the zones that contain the centre of a box, in the given order.

    Args:
        box_xyxy: pixels.
        zones: of the stream; they may overlap.
        frame_width, frame_height: pixels.
    """
    if not zones:
        return ()
    x = (box_xyxy[0] + box_xyxy[2]) / 2 / frame_width
    y = (box_xyxy[1] + box_xyxy[3]) / 2 / frame_height
    return tuple(zone.name for zone in zones if zone.contains(x, y))


def zone_from(value: Zone | Mapping[str, Any]) -> Zone:
    """A zone from a mapping with `name` and `polygon`, as in settings, JSON and the HTTP API.

    >>> zone_from({"name": "door", "polygon": [[0, 0], [0.5, 0], [0.5, 1]]}).polygon
    ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0))

    Raises:
        ConfigError: the mapping is not a valid zone.
    """
    if isinstance(value, Zone):
        return value
    try:
        polygon = tuple((float(x), float(y)) for x, y in value["polygon"])
        name = value["name"]
        if set(value) != {"name", "polygon"} or not isinstance(name, str):
            raise ValueError(f"got {', '.join(sorted(map(str, value)))}")
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigError(f"a zone needs exactly a name and a polygon of (x, y) corners: {exc}") from exc
    return Zone(name, polygon)
