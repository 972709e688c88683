"""Made clips of people who cover each other (they cross, pass, overtake, stop before each other and turn back), of cuts
between them, and of a crowd."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from tests.vision.track.people_clips import Person, Place, Scene, Shot, along, shots_of

# Pixels per frame, height of the faces, and how much higher or lower the other one goes.
_CROSSINGS = ((4, 90, 0), (4, 90, 20), (6, 110, 0), (6, 95, -15), (3, 100, 10), (8, 100, 0), (10, 120, 15), (5, 105, 5))


def crossings() -> dict[str, Callable[[], list[Shot]]]:
    """What happens → the pictures, made when they are asked for."""
    made: dict[str, Callable[[], list[Shot]]] = {
        f"cross {number}": partial(_cross, number) for number in range(len(_CROSSINGS))
    }
    standing = Person(1, lambda index: (320, 180, 110))
    walking = Person(0, along((100, 175), (7, 0), 105))
    others = {
        "pass in front": (65, [standing, walking]),
        "pass behind": (65, [walking, standing]),
        "stop before each other": (95, [Person(0, partial(_stopping, 1)), Person(1, partial(_stopping, -1))]),
        "turn back": (80, [Person(0, partial(_turning, 1)), Person(1, partial(_turning, -1))]),
        "overtake": (90, [Person(0, along((80, 180), (3, 0), 100)), Person(1, along((20, 185), (6, 0), 105))]),
        "three": (
            95,
            [
                Person(0, along((80, 150), (5, 0), 90)),
                Person(1, along((560, 160), (-5, 0), 95)),
                Person(2, along((320, 380), (0, -3), 85)),
            ],
        ),
    }
    return made | {name: partial(_scene, num_frames, people) for name, (num_frames, people) in others.items()}


def cuts() -> dict[str, Callable[[], list[Shot]]]:
    """Cuts between two people: in one place of one room, to and fro between two rooms, and for a moment only."""
    here = [(number, 3, (320.0, 180.0, 120.0)) for number in (0, 1, 0, 1)]
    rooms = [(number, number, (200.0 + 200 * number, 180.0, 120.0)) for number in (0, 1, 0, 1)]
    return {
        "same place": partial(_cut, here, 40),
        "reverse shot": partial(_cut, rooms, 50),
        "short looks": partial(_cut, rooms, 12),
    }


def crowd() -> list[Shot]:
    """16 people who stand in rows and sway."""
    places = [(80 + 160 * (number % 4), 50 + 88 * (number // 4)) for number in range(16)]
    return _scene(100, [Person(number, partial(_swaying, *place)) for number, place in enumerate(places)], 5)


def _swaying(x: float, y: float, index: int) -> Place:
    return (x + 18 * math.sin(index / 6 + x), y + 5 * math.sin(index / 4 + y), 52)


def _cut(scenes: list[tuple[int, int, Place]], num_frames: int) -> list[Shot]:
    return [
        shot
        for number, background, (x, y, height) in scenes
        for shot in _scene(num_frames, [Person(number, along((x, y), (0.3, 0), height))], background)
    ]


def _scene(num_frames: int, people: list[Person], background: int = 3) -> list[Shot]:
    return list(shots_of([Scene(background, num_frames, people)]))


def _cross(number: int) -> list[Shot]:
    speed, height, lower = _CROSSINGS[number]
    people = [
        Person(1, along((520, 170 + lower), (-speed, 0), 1.05 * height)),
        Person(0, along((120, 170), (speed, 0), height)),
    ]
    return _scene(round(400 / speed), people[:: -1 if number % 2 else 1], 3 + number)


def _stopping(sign: int, index: int) -> Place:
    return (320 - sign * 200 + sign * 4.4 * (min(index, 40) + max(index - 46, 0)), 180, 95)


def _turning(sign: int, index: int) -> Place:
    return (320 - sign * (190 - 4.2 * min(index, 80 - index)), 180, 95)
