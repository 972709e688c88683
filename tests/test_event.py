"""Events check what they promise."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import datetime

import pytest
from hypothesis import given

from emostream.event import EmotionEvent, FaceEmotion
from tests.publish.samples import EVENT
from tests.strategies import face_emotions


@given(face_emotions)
def test_dominant_and_confidence_are_the_smoothed_ones(face: FaceEmotion) -> None:
    assert face.dominant == face.smoothed.dominant
    assert face.confidence == face.smoothed.confidence


@pytest.mark.parametrize(
    "changes",
    [{"captured_at": datetime(2026, 1, 1)}, {"frame_index": -1}, {"epoch": -1}, {"num_dropped": -1}],
    ids=lambda changes: next(iter(changes)),
)
def test_impossible_values_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        replace(EVENT, **changes)  # type: ignore[arg-type]


def test_an_event_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        EVENT.epoch = 5  # type: ignore[misc]


def test_latencies_are_not_shared_between_events() -> None:
    def bare() -> EmotionEvent:
        return EmotionEvent("a", 0, 0, 0.0, EVENT.captured_at, 1, 1, "m", "1")

    assert bare().latency_ms is not bare().latency_ms
