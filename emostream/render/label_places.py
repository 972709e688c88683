"""Where labels of faces go: beside their faces, over no other face or label, and where they were one frame before.

Labels of maps are placed in the same way: a fixed list of places for each, the most important labels first
(Christensen, Marks, Shieber, *An Empirical Study of Algorithms for Point-Feature Label Placement*, ACM Trans. Graphics
14, 1995). The console follows the same rules (`service/console/static/label_places.js`); all values are integers, so
that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_MOST_COVERED = 8  # a label without free room covers at most one part in this many of any face
_REACH = 6  # heights of a label: the longest line from a face to its label


class Area(NamedTuple):
    """A rectangle in pixels; x1 and y1 are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def at(cls, left: int, top: int, width: int, height: int) -> Area:
        """A rectangle by its corner and size."""
        return cls(left, top, left + width, top + height)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.y1 - self.y0

    def distance_squared(self, other: Area) -> int:
        """Square of the distance between the nearest pixels; 0 where they touch."""
        across = max(self.x0 - other.x1, other.x0 - self.x1, 0)
        down = max(self.y0 - other.y1, other.y0 - self.y1, 0)
        return across * across + down * down


class Side(StrEnum):
    """Where a label is, seen from its face; flush with the face's left or upper edge, or with the other one (end)."""

    ABOVE = "above"
    ABOVE_END = "above end"
    BELOW = "below"
    BELOW_END = "below end"
    RIGHT = "right"
    LEFT = "left"
    RIGHT_END = "right end"
    LEFT_END = "left end"
    AWAY = "away"  # further away: a line leads to it
    OVER = "over"  # over a part of a face: nothing is free


BESIDE = (
    Side.ABOVE,
    Side.ABOVE_END,
    Side.BELOW,
    Side.BELOW_END,
    Side.RIGHT,
    Side.LEFT,
    Side.RIGHT_END,
    Side.LEFT_END,
)
"""The sides that touch a face, the best one for a label first."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is to be placed.

    Attributes:
        box: of its face.
        width, height: pixels.
        gap: pixels between face and label.
        key: whose it is, to keep its place from frame to frame; None places it anew.
    """

    box: Area
    width: int
    height: int
    gap: int = 0
    key: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a label is.

    Attributes:
        area: in the picture.
        side: seen from its face.
        distance_squared: of one that is away, when it was placed.
    """

    area: Area
    side: Side
    distance_squared: int = 0


class Room:
    """The free room of a picture.

    Args:
        width, height: of the picture, pixels.
        faces: boxes of all faces.
        taken: other areas that are not free.
    """

    def __init__(self, width: int, height: int, *, faces: Sequence[Area], taken: Sequence[Area] = ()) -> None:
        self.picture = Area(0, 0, width, height)
        self._faces = _array(faces)
        self._labels = _array(taken)

    def holds(self, area: Area) -> bool:
        """Whether an area is inside the picture."""
        return area.x0 >= 0 and area.y0 >= 0 and area.x1 <= self.picture.x1 and area.y1 <= self.picture.y1

    def is_free(self, area: Area, *, clearance: int = 0) -> bool:
        """Whether it is inside the picture, and no face or label is nearer than `clearance` pixels."""
        x0, y0, x1, y1 = area
        grown = (x0 - clearance, y0 - clearance, x1 + clearance, y1 + clearance)
        return self.holds(area) and not any(_meets(some, grown) for some in (self._faces, self._labels))

    def take(self, area: Area) -> None:
        """It is free no longer."""
        self._labels = np.vstack([self._labels, _array([area])])

    def beside(self, label: Label, side: Side) -> Area:
        """The area of a label at a side of its face, moved along the face into the picture where that helps."""
        box, width, height = self.visible(label.box), label.width, label.height
        left = max(min(box.x0, self.picture.x1 - width), 0)
        right = max(min(box.x1 - width, self.picture.x1 - width), 0)
        upper = max(min(box.y0, self.picture.y1 - height), 0)
        lower = max(min(box.y1 - height, self.picture.y1 - height), 0)
        above, below = box.y0 - label.gap - height, box.y1 + label.gap
        before, after = box.x0 - label.gap - width, box.x1 + label.gap
        corners = {
            Side.ABOVE: (left, above),
            Side.ABOVE_END: (right, above),
            Side.BELOW: (left, below),
            Side.BELOW_END: (right, below),
            Side.RIGHT: (after, upper),
            Side.LEFT: (before, upper),
            Side.RIGHT_END: (after, lower),
            Side.LEFT_END: (before, lower),
        }
        return Area.at(*corners[side], width, height)

    def first_beside(self, label: Label, sides: Sequence[Side] = BESIDE, *, clearance: int = 0) -> Place | None:
        """The first of some sides that is free."""
        for side in sides:
            area = self.beside(label, side)
            if self.is_free(area, clearance=clearance):
                return Place(area, side)
        return None

    def nearest(self, label: Label) -> Place | None:
        """The free place that is nearest to the face."""
        columns, rows = self._grid(label)
        some = np.vstack([self._faces, self._labels])
        across = _bits((columns[:, None] < some[:, 2]) & (columns[:, None] + label.width > some[:, 0]))
        down = _bits((rows[:, None] < some[:, 3]) & (rows[:, None] + label.height > some[:, 1]))
        is_free = ~(across[:, None, :] & down[None, :, :]).any(axis=2)
        if not is_free.any():
            return None
        box = self.visible(label.box)
        x = np.maximum(np.maximum(columns - box.x1, box.x0 - (columns + label.width)), 0)
        y = np.maximum(np.maximum(rows - box.y1, box.y0 - (rows + label.height)), 0)
        distances = np.where(is_free, (x * x)[:, None] + (y * y)[None, :], np.iinfo(np.int64).max)
        column, row = divmod(int(distances.argmin()), len(rows))
        area = Area.at(int(columns[column]), int(rows[row]), label.width, label.height)
        return Place(area, Side.AWAY, int(distances[column, row]))

    def over(self, label: Label, *, most: int = _MOST_COVERED, is_low: bool = False) -> Place | None:
        """The first corner of its own face where it covers no label, and of any face one part in `most` or less."""
        box = self.visible(label.box)
        right, lower = box.x1 - label.width, box.y1 - label.height
        sizes = (self._faces[:, 2] - self._faces[:, 0]) * (self._faces[:, 3] - self._faces[:, 1])
        for top in (lower, box.y0) if is_low else (box.y0, lower):
            for left in (box.x0, right):
                area = Area.at(left, top, label.width, label.height)
                is_little = (_common(self._faces, area) * most <= sizes).all()
                if is_little and self.holds(area) and not _meets(self._labels, area):
                    return Place(area, Side.OVER)
        return None

    def visible(self, box: Area) -> Area:
        """The part of a box inside the picture; a line at its border where nothing of it is."""
        x0, y0 = min(max(box.x0, 0), self.picture.x1), min(max(box.y0, 0), self.picture.y1)
        return Area(x0, y0, max(min(box.x1, self.picture.x1), x0), max(min(box.y1, self.picture.y1), y0))

    def _grid(self, label: Label) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Left and upper edges of places all over the picture."""
        return (
            _steps(self.picture.x1 - label.width, step=max(label.width // 4, 1)),
            _steps(self.picture.y1 - label.height, step=max(label.height // 2, 1)),
        )


def place_labels(
    labels: Sequence[Label], room: Room, *, earlier: Mapping[int, Place | None] | None = None
) -> list[Place | None]:
    """Place labels, the most important first. The same input gives the same places.

    Beside its face, else at the nearest free place, else (nothing is free) over a corner of its face, where it covers
    little of it. A label keeps the side or place that it had, as long as it is free.

    Args:
        labels: in the order of their importance.
        room: is taken up by them.
        earlier: places in the frame before, by key; None where there was none.

    Returns:
        A place for each label; None where there is no room near its face.
    """
    known = earlier or {}
    places: list[Place | None] = [None] * len(labels)
    for index, label in enumerate(labels):
        before = None if label.key is None else known.get(label.key)
        if before is not None and (kept := _kept(label, before, room)) is not None:
            places[index] = kept
            room.take(kept.area)
    for index, label in enumerate(labels):
        if places[index] is not None:
            continue
        # A label that was left out comes back only where there is more than just enough room, or it would flicker.
        clearance = label.height // 4 if label.key is not None and known.get(label.key, _NEW) is None else 0
        place = room.first_beside(label, clearance=clearance)
        if place is None and not clearance:
            place = room.nearest(label) or room.over(label)
            if place is not None and place.distance_squared > (_REACH * label.height) ** 2:
                place = None
        if place is not None:
            places[index] = place
            room.take(place.area)
    return places


_NEW = Place(Area(0, 0, 0, 0), Side.OVER)


def _kept(label: Label, before: Place, room: Room) -> Place | None:
    """The earlier place, when it is still free and there is no better one."""
    if before.side is Side.OVER:
        return None
    if before.side is not Side.AWAY:
        area = room.beside(label, before.side)
        return Place(area, before.side) if room.is_free(area) else None
    better = room.first_beside(label, clearance=label.height // 4)
    if better is not None:
        return better
    area = Area.at(before.area.x0, before.area.y0, label.width, label.height)
    farthest = max(4 * before.distance_squared, (4 * label.height) ** 2)
    is_near = area.distance_squared(room.visible(label.box)) <= farthest
    return Place(area, Side.AWAY, before.distance_squared) if is_near and room.is_free(area) else None


def _array(areas: Sequence[Area]) -> npt.NDArray[np.int64]:
    return np.array(areas, dtype=np.int64).reshape(-1, 4)


def _meets(some: npt.NDArray[np.int64], area: tuple[int, int, int, int]) -> bool:
    x0, y0, x1, y1 = area
    return bool(((some[:, 0] < x1) & (some[:, 2] > x0) & (some[:, 1] < y1) & (some[:, 3] > y0)).any())


def _common(some: npt.NDArray[np.int64], area: Area) -> npt.NDArray[np.int64]:
    """Pixels of each area in another one."""
    across = np.minimum(some[:, 2], area.x1) - np.maximum(some[:, 0], area.x0)
    down = np.minimum(some[:, 3], area.y1) - np.maximum(some[:, 1], area.y0)
    return np.asarray(np.maximum(across, 0) * np.maximum(down, 0))


def _bits(is_met: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Places × areas as bits. A matrix product in their place takes all cores, and seconds where these are busy."""
    return np.packbits(is_met, axis=1)


def _steps(last: int, *, step: int) -> npt.NDArray[np.int64]:
    """0, step, … up to and with the last; nothing when that is below 0."""
    return np.array([*range(0, last, step), last] if last >= 0 else [], dtype=np.int64)
