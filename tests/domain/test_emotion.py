"""Scores are distributions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS, Emotion, EmotionScores
from tests.strategies import distributions, scores


def test_the_order_is_that_of_fer2013() -> None:
    assert EMOTIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert Emotion("happy") is Emotion.HAPPY


@given(scores())
def test_the_dominant_label_has_the_highest_probability(given_scores: EmotionScores) -> None:
    by_label = given_scores.as_dict()
    assert tuple(by_label) == given_scores.labels
    assert by_label[given_scores.dominant] == given_scores.confidence == max(by_label.values())


def test_the_first_wins_a_tie() -> None:
    assert EmotionScores(("a", "b", "c"), (0.2, 0.4, 0.4)).dominant == "b"


@given(distributions(), st.integers(0, 6), st.floats(0.01, 0.5))
def test_what_does_not_sum_to_one_is_refused(values: tuple[float, ...], index: int, change: float) -> None:
    changed = list(values)
    changed[index] += change
    with pytest.raises(ValueError):
        EmotionScores(EMOTIONS, tuple(changed))


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ((), ()),
        (("a",), (0.5, 0.5)),
        (("a", "b"), (1.0,)),
        (("a", "b"), (-0.5, 1.5)),
        (("a", "b"), (float("nan"), 1.0)),
        (("a", "b"), (float("inf"), 0.0)),
    ],
    ids=["empty", "few-labels", "many-labels", "negative", "nan", "inf"],
)
def test_what_is_no_distribution_is_refused(labels: tuple[str, ...], probabilities: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        EmotionScores(labels, probabilities)
