"""Valence and arousal from probabilities."""

from __future__ import annotations

import pytest
from hypothesis import given

from emostream.domain.affect import AFFECT, derived_affect
from emostream.domain.emotion import EMOTIONS
from tests.strategies import distributions


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_sure_emotion_has_its_own_coordinates(emotion: str) -> None:
    assert derived_affect(EMOTIONS, [float(label == emotion) for label in EMOTIONS]) == AFFECT[emotion]


def test_quadrants_are_those_of_the_circumplex() -> None:
    assert AFFECT["happy"][0] > 0 > AFFECT["sad"][0]
    assert AFFECT["angry"][1] > 0 > AFFECT["sad"][1]


@given(distributions())
def test_a_mixture_lies_between_its_emotions(shares: tuple[float, ...]) -> None:
    affect = derived_affect(EMOTIONS, shares)
    assert affect is not None
    for value, coordinates in zip(affect, zip(*AFFECT.values(), strict=True), strict=True):
        assert min(coordinates) - 1e-9 <= value <= max(coordinates) + 1e-9


def test_a_model_with_other_classes_has_none() -> None:
    assert derived_affect(["happy", "contempt"], [0.5, 0.5]) is None
