"""The summary counts persons, not faces."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.domain.face import Face
from emostream.domain.summary import RollingSummary, StreamSummary


def _scores(emotion: str, probability: float) -> EmotionScores:
    rest = (1 - probability) / (len(EMOTIONS) - 1)
    return EmotionScores(EMOTIONS, tuple(probability if name == emotion else rest for name in EMOTIONS))


def _event(index: int, faces: dict[int, str]) -> EmotionEvent:
    landmarks = ((1.0, 1.0), (3.0, 1.0), (2.0, 2.0), (1.0, 3.0), (3.0, 3.0))
    return EmotionEvent(
        stream_id="clip",
        epoch=1,
        frame_index=index,
        pts_seconds=index / 10,
        captured_at=datetime(2026, 1, 1, tzinfo=UTC),
        frame_width=64,
        frame_height=48,
        model_name="emotions",
        model_version="1",
        faces=tuple(
            FaceEmotion(Face((0, 0, 4, 4), 0.9, landmarks, track_id=track_id), _scores(name, 0.7), _scores(name, 0.7))
            for track_id, name in faces.items()
        ),
    )


def test_tracks_are_summed_separately() -> None:
    summary = StreamSummary()
    for event in (_event(0, {1: "happy"}), _event(1, {1: "happy", 2: "sad"}), _event(2, {1: "sad", 2: "sad"})):
        summary.add(event)

    first, second = summary.tracks[1], summary.tracks[2]
    assert (summary.num_events, summary.num_faces) == (3, 5)
    assert first.dominant == "happy"
    assert first.dominant_share == pytest.approx(2 / 3)
    assert (first.first_seen_seconds, first.last_seen_seconds) == (0.0, 0.2)
    assert (second.dominant, second.num_frames) == ("sad", 2)
    assert second.mean_probabilities["sad"] == pytest.approx(0.7)
    assert sum(first.mean_probabilities.values()) == pytest.approx(1.0)


def test_persons_are_counted_beside_their_appearances() -> None:
    summary, rolling = StreamSummary(), RollingSummary(interval_seconds=60)
    assert (summary.num_persons, summary.head_count) == (None, "0 appearances")
    steps: list[dict[int, int | None]] = [{1: None}, {1: 5}, {2: 5}, {3: None}]
    for index, known in enumerate(steps):
        event = _event(index, dict.fromkeys(known, "happy"))
        named = [replace(face, face=replace(face.face, person_id=known[face.track_id or 0])) for face in event.faces]
        summary.add(replace(event, faces=tuple(named)))
        rolling.add(replace(event, faces=tuple(named)))
        assert summary.num_persons == (1 if index else None)
    assert [track.person_id for track in summary.tracks.values()] == [5, 5, None]
    assert summary.head_count == "1 person in 3 appearances"
    last = rolling.finish()
    assert last is not None and (last.num_tracks, last.num_persons) == (3, 1)


def test_an_empty_stream_has_no_tracks() -> None:
    assert dict(StreamSummary().tracks) == {}


def test_a_new_epoch_begins_anew() -> None:
    summary = StreamSummary()
    summary.add(_event(0, {1: "happy"}))
    summary.add(replace(_event(0, {1: "sad"}), epoch=2))
    assert (summary.num_events, summary.tracks[1].dominant, summary.tracks[1].num_frames) == (1, "sad", 1)
