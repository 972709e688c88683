"""Events check what they promise."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import datetime

import pytest
from hypothesis import given

from emostream.domain.event import EmotionEvent, FaceEmotion
from tests.publish.samples import EVENT
from tests.strategies import face_emotions


@given(face_emotions)
def test_confidence_is_the_smoothed_probability_of_the_dominant_emotion(face: FaceEmotion) -> None:
    assert face.confidence == face.smoothed.as_dict().get(face.dominant, 0.0)


def test_without_a_dominant_emotion_it_is_the_most_probable_one() -> None:
    face = FaceEmotion(EVENT.faces[0].face, EVENT.faces[0].scores, EVENT.faces[0].smoothed)
    assert (face.dominant, face.confidence) == ("happy", 0.9)


def test_a_dominant_emotion_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="hungry"):
        replace(EVENT.faces[0], dominant="hungry")


@pytest.mark.parametrize(
    "changes",
    [{"captured_at": datetime(2026, 1, 1)}, {"frame_index": -1}, {"epoch": -1}, {"num_dropped": -1}],
    ids=lambda changes: next(iter(changes)),
)
def test_impossible_values_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(EVENT, **changes)  # type: ignore[arg-type]


def test_an_event_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        EVENT.epoch = 5  # type: ignore[misc]


def test_latencies_are_not_shared_between_events() -> None:
    def bare() -> EmotionEvent:
        return EmotionEvent("a", 0, 0, 0.0, EVENT.captured_at, 1, 1, "m", "1")

    assert bare().latency_ms is not bare().latency_ms
