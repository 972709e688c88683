"""Every emotion can be told apart and read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS
from emostream.domain.event import UNKNOWN
from emostream.render.palette import (
    EMOTION_COLOURS,
    OTHER_COLOUR,
    UNKNOWN_COLOUR,
    Rgb,
    colour_of,
    contrast,
    hex_of,
    ink_on,
)

channels = st.integers(0, 255)
colours = st.tuples(channels, channels, channels)


def test_every_emotion_has_a_colour_of_its_own() -> None:
    assert set(EMOTION_COLOURS) == set(EMOTIONS)
    assert len({*EMOTION_COLOURS.values(), OTHER_COLOUR, UNKNOWN_COLOUR}) == len(EMOTIONS) + 2
    assert colour_of(UNKNOWN) == UNKNOWN_COLOUR


@pytest.mark.parametrize("emotion", [*EMOTIONS, "contempt", "unknown"])
def test_a_name_on_its_colour_can_be_read(emotion: str) -> None:
    colour = colour_of(emotion)
    assert contrast(ink_on(colour), colour) >= 4.5


@given(colours, colours)
def test_contrast(one: Rgb, other: Rgb) -> None:
    assert contrast(one, other) == contrast(other, one)
    assert 1 <= contrast(one, other) <= 21.01
    assert contrast(one, one) == 1
    assert contrast(ink_on(one), one) >= 4.1


@given(colours)
def test_hex_has_all_channels(colour: Rgb) -> None:
    assert tuple(bytes.fromhex(hex_of(colour).removeprefix("#"))) == colour


@pytest.mark.parametrize(
    "labels",
    [
        ["calm", "cross", "glad"],
        ["happy", "calm", "sad", "bored"],
        [f"class {number}" for number in range(8)],
        EMOTIONS,
    ],
)
def test_classes_of_other_names_have_different_colours(labels: Sequence[str]) -> None:
    found = {name: colour_of(name, labels) for name in labels}
    assert len(set(found.values())) == len(labels)
    assert {name: colour for name, colour in found.items() if name in EMOTIONS}.items() <= EMOTION_COLOURS.items()
    assert UNKNOWN_COLOUR not in found.values()


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30, unique=True))
def test_any_classes_have_colours(labels: list[str]) -> None:
    assert all(colour_of(name, labels) == colour_of(name, tuple(labels)) for name in labels)
