"""The colours that stand for emotions, wherever something is drawn: videos, pictures, reports, tables, web pages.

Okabe & Ito's palette (*Color Universal Design*, 2008), which stays distinguishable with every common kind of colour
blindness. Colour never stands alone: the name is written beside it.
"""

from __future__ import annotations

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
"""Of all classes that a foreign model may add, and of `unknown`."""


def colour_of(emotion: str) -> Rgb:
    """The colour of an emotion.

    >>> colour_of("happy"), colour_of("contempt")
    ((240, 228, 66), (86, 180, 233))
    """
    return EMOTION_COLOURS.get(emotion, OTHER_COLOUR)


def hex_of(colour: Rgb) -> str:
    """A colour as web pages write it.

    >>> hex_of(colour_of("sad"))
    '#0072b2'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)
