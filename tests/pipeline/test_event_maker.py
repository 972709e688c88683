"""Faces that were not classified in a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from emostream.domain.event import EmotionEvent
from emostream.pipeline.chunk import FollowedChunk, ScoredChunk
from emostream.pipeline.event_maker import EventMaker
from emostream.testing.fakes import START, ConstantClassifier, face_at, gray_frames
from emostream.vision.classify.classifier import Classified
from emostream.vision.classify.covers import OPEN
from emostream.vision.classify.hysteresis import EmotionHysteresis
from emostream.vision.classify.smoothing import EmotionSmoother
from emostream.vision.track.follower import FollowedFaces

LABELS = ("calm", "happy")


def _maker() -> EventMaker:
    return EventMaker(
        stream_id="test",
        epoch=1,
        manifest=ConstantClassifier(labels=LABELS).manifest,
        smoother=EmotionSmoother(time_constant_seconds=0),
        hysteresis=EmotionHysteresis(hold_seconds=0, margin=0),
    )


def _events(maker: EventMaker, first: int, happy: Sequence[float | None]) -> list[EmotionEvent]:
    """The events of frames with one face; None where it is not classified."""
    frames = gray_frames(first + len(happy))[first:]
    face = face_at(10, 4)
    found = FollowedFaces((type(face)(face.box_xyxy, 0.9, face.landmarks, track_id=3),), (), False, 0.0, 0.0)
    rows = np.array([(1 - value, value) for value in happy if value is not None], dtype=np.float32).reshape(-1, 2)
    crops = np.random.default_rng(1).integers(0, 255, (len(rows), 48, 48), dtype=np.uint8)
    chosen = [value is not None for value in happy]
    chunk = FollowedChunk(frames, [found] * len(happy), crops, [OPEN] * len(rows), 0.0, 0, [True] * len(happy), chosen)
    return maker.events_from(ScoredChunk(chunk, Classified(rows, 0.0, 0.0)), now=START)


def _happy(events: Sequence[EmotionEvent]) -> list[float]:
    return [event.faces[0].scores.probabilities[1] for event in events]


def test_probabilities_lie_between_those_before_and_after() -> None:
    maker = _maker()
    first = _events(maker, 0, [0.2, None, None, 0.8, None])
    assert _happy(first) == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert [event.faces[0].is_classified for event in first] == [True, False, False, True, False]
    assert all(event.is_classified for event in first)
    # The last one of a chunk was published; the next chunk goes on from the crop that was classified.
    assert _happy(_events(maker, 5, [None, 0.2])) == pytest.approx([0.4, 0.2])
    assert _happy(_events(maker, 7, [None, None])) == pytest.approx([0.2, 0.2])


def test_only_what_is_not_classified_says_so_in_json() -> None:
    one, other = (event.to_dict()["faces"][0] for event in _events(_maker(), 0, [0.2, None]))
    assert "is_classified" not in one
    assert other["is_classified"] is False


def test_tracks_whose_emotion_may_change_are_undecided() -> None:
    maker = _maker()
    _events(maker, 0, [0.9])
    assert maker.undecided == frozenset()
    _events(maker, 1, [0.55])
    assert maker.undecided == {3}
