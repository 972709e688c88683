"""The name of an emotion lives for the hold time, follows what stays, and is unknown where there is little to see."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.event import UNKNOWN
from emostream.vision.classify.hysteresis import EmotionHysteresis
from tests.strategies import distributions

LABELS = ("happy", "sad", "neutral")
HAPPY, SAD, NEUTRAL = (0.6, 0.3, 0.1), (0.3, 0.6, 0.1), (0.1, 0.3, 0.6)
GOOD, BAD = True, False
"""Whether enough of the face is seen."""

frames = st.lists(st.tuples(distributions(3), st.floats(0.001, 0.5), st.booleans()), min_size=1, max_size=60)


Frames = Sequence[tuple[tuple[float, ...], float, bool]]
"""Probabilities, seconds since the frame before, whether enough of the face is seen."""


def names_of(
    frames: Frames, *, hold_seconds: float, margin: float = 0.2, min_confidence: float = 0.0
) -> list[tuple[float, str]]:
    """(time, name) after each frame; each frame comes so long after the one before."""
    hysteresis = EmotionHysteresis(hold_seconds=hold_seconds, margin=margin, min_confidence=min_confidence)
    at = 0.0
    names = []
    for probabilities, step, is_readable in frames:
        at += step
        names.append((at, hysteresis.name(1, probabilities, labels=LABELS, is_readable=is_readable, pts_seconds=at)))
    return names


def changes_of(names: list[tuple[float, str]]) -> list[tuple[float, str, str]]:
    """(time, from, to) of every change."""
    return [(at, before, after) for (_, before), (at, after) in itertools.pairwise(names) if before != after]


@given(frames, st.floats(0, 2), st.floats(0, 1))
def test_a_name_is_one_of_the_labels_or_unknown(frames: Frames, hold_seconds: float, margin: float) -> None:
    assert {name for _, name in names_of(frames, hold_seconds=hold_seconds, margin=margin)} <= {*LABELS, UNKNOWN}


@given(frames, st.floats(0.05, 2))
def test_a_named_emotion_lives_for_the_hold_time(frames: Frames, hold_seconds: float) -> None:
    changes = changes_of(names_of(frames, hold_seconds=hold_seconds))
    for (began, _, name), (ended, _, _) in itertools.pairwise(changes):
        if name != UNKNOWN:
            assert ended - began >= hold_seconds - 1e-9


@given(frames)
def test_without_hold_and_margin_the_most_probable_emotion_is_named(
    frames: Frames,
) -> None:
    good = [(probabilities, step, GOOD) for probabilities, step, _ in frames]
    for (probabilities, _, _), (_, name) in zip(good, names_of(good, hold_seconds=0, margin=0), strict=True):
        assert probabilities[LABELS.index(name)] == max(probabilities)


@given(st.lists(distributions(3), max_size=40), st.floats(0.05, 1))
def test_what_comes_to_stay_is_named_after_twice_the_hold_time(
    past: list[tuple[float, ...]], hold_seconds: float
) -> None:
    step = 0.04
    stay = int(2 * hold_seconds / step) + 2
    frames = [(value, step, GOOD) for value in [*past, *[SAD] * stay]]
    assert names_of(frames, hold_seconds=hold_seconds)[-1][1] == "sad"


def test_a_clear_lead_takes_over_at_once() -> None:
    frames = [(HAPPY, 0.1, GOOD)] * 10 + [(SAD, 0.1, GOOD)]
    assert names_of(frames, hold_seconds=0.4)[-1][1] == "sad"


def test_a_narrow_lead_takes_over_after_the_hold_time() -> None:
    close = (0.4, 0.45, 0.15)
    names = names_of([(HAPPY, 0.1, GOOD)] * 10 + [(close, 0.1, GOOD)] * 6, hold_seconds=0.4)
    assert [name for _, name in names[10:]] == ["happy"] * 4 + ["sad"] * 2


def test_a_flickering_tie_does_not_flicker() -> None:
    frames = [((0.45, 0.4, 0.15) if index % 2 else (0.4, 0.45, 0.15), 0.04, GOOD) for index in range(200)]
    assert len(changes_of(names_of(frames, hold_seconds=0.4))) == 0


def test_bad_pictures_become_unknown_after_the_hold_time_and_good_ones_end_that() -> None:
    names = names_of([(HAPPY, 0.125, GOOD)] * 3 + [(SAD, 0.125, BAD)] * 6 + [(SAD, 0.125, GOOD)], hold_seconds=0.5)
    assert [name for _, name in names] == ["happy"] * 7 + [UNKNOWN] * 2 + ["sad"]


def test_a_face_that_is_bad_from_the_beginning_is_unknown() -> None:
    assert names_of([(HAPPY, 0.1, BAD)], hold_seconds=0.4)[0][1] == UNKNOWN


def test_time_that_goes_back_does_not_freeze_the_name() -> None:
    hysteresis = EmotionHysteresis(hold_seconds=0.4, margin=0.2)
    hysteresis.name(1, HAPPY, labels=LABELS, is_readable=True, pts_seconds=1000)
    names = [hysteresis.name(1, SAD, labels=LABELS, is_readable=True, pts_seconds=index * 0.1) for index in range(10)]
    assert names[-1] == "sad"


def test_tracks_do_not_mix_and_are_forgotten() -> None:
    hysteresis = EmotionHysteresis(hold_seconds=10, margin=1)
    assert hysteresis.name(1, HAPPY, labels=LABELS, is_readable=True, pts_seconds=0) == "happy"
    assert hysteresis.name(2, SAD, labels=LABELS, is_readable=True, pts_seconds=0) == "sad"
    assert len(hysteresis) == 2
    hysteresis.forget([1, 9])
    assert hysteresis.name(1, NEUTRAL, labels=LABELS, is_readable=True, pts_seconds=1) == "neutral"


@pytest.mark.parametrize(
    ("hold_seconds", "margin", "min_confidence"), [(-1, 0.2, 0), (0.4, -0.1, 0), (0.4, 1.1, 0), (0.4, 0.2, 1.1)]
)
def test_impossible_values_are_refused(hold_seconds: float, margin: float, min_confidence: float) -> None:
    with pytest.raises(ValueError):
        EmotionHysteresis(hold_seconds=hold_seconds, margin=margin, min_confidence=min_confidence)


def test_what_is_hardly_more_probable_than_the_others_is_not_named() -> None:
    vague = (0.38, 0.32, 0.3)
    assert names_of([(vague, 0.1, GOOD)], hold_seconds=0.4, min_confidence=0.4)[0][1] == UNKNOWN
    assert names_of([(vague, 0.1, GOOD)], hold_seconds=0.4, min_confidence=0.35)[0][1] == "happy"
    names = names_of([(HAPPY, 0.125, GOOD)] * 3 + [(vague, 0.125, GOOD)] * 6, hold_seconds=0.5, min_confidence=0.4)
    assert [name for _, name in names] == ["happy"] * 7 + [UNKNOWN] * 2
