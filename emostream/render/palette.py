"""The colours of emotions in videos, pictures, reports, tables and web pages.

Okabe & Ito's palette (*Color Universal Design*, 2008) is distinguishable with every common kind of colour blindness.
The name of the emotion is always shown as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache

from emostream.domain.event import UNKNOWN

Rgb = tuple[int, int, int]

EMOTION_COLOURS: dict[str, Rgb] = {
    "angry": (213, 94, 0),
    "disgust": (0, 158, 115),
    "fear": (204, 121, 167),
    "happy": (240, 228, 66),
    "sad": (0, 114, 178),
    "surprise": (230, 159, 0),
    "neutral": (220, 220, 220),
}
OTHER_COLOUR: Rgb = (86, 180, 233)
"""Colour of a class of a custom model where its other classes are not known."""
UNKNOWN_COLOUR: Rgb = (112, 112, 112)
"""Colour of faces whose picture is too bad to name an emotion: darker than `neutral`, which is one."""


def colour_of(emotion: str, labels: Sequence[str] = ()) -> Rgb:
    """The colour of an emotion.

    Args:
        emotion: its name, or `unknown`.
        labels: all classes of the model. Classes with names of their own then have different colours, up to eight.

    >>> colour_of("happy"), colour_of("contempt"), colour_of("unknown")
    ((240, 228, 66), (86, 180, 233), (112, 112, 112))
    >>> len({colour_of(name, ["calm", "cross", "happy"]) for name in ["calm", "cross", "happy"]})
    3
    """
    if emotion == UNKNOWN:
        return UNKNOWN_COLOUR
    return EMOTION_COLOURS.get(emotion) or _colours_of_others(tuple(labels)).get(emotion, OTHER_COLOUR)


@cache
def _colours_of_others(labels: tuple[str, ...]) -> Mapping[str, Rgb]:
    """The colours of a model's classes of other names: those that its emotions of known names leave over."""
    left = [OTHER_COLOUR, *(colour for name, colour in EMOTION_COLOURS.items() if name not in labels)]
    others = (name for name in labels if name not in EMOTION_COLOURS)
    return dict(zip(others, itertools.cycle(left)))


def hex_of(colour: Rgb) -> str:
    """A colour in CSS notation.

    >>> hex_of(colour_of("sad"))
    '#0072b2'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


DARK_INK: Rgb = (25, 25, 25)
LIGHT_INK: Rgb = (250, 250, 250)


def ink_on(colour: Rgb) -> Rgb:
    """The text colour, dark or light, with the greater contrast on a colour (WCAG 2.2; at least 4.5 on all above).

    >>> ink_on(colour_of("happy")) == DARK_INK, ink_on(colour_of("sad")) == LIGHT_INK
    (True, True)
    """
    return max((DARK_INK, LIGHT_INK), key=lambda ink: contrast(ink, colour))


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast ratio of two colours, 1…21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Rgb) -> float:
    """Relative luminance, 0…1."""
    linear = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    )
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
