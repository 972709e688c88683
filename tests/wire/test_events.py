"""The wire format: round trips, rounding, and entries from hostile hands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.domain.event_content import round_probabilities
from emostream.domain.face import Face
from emostream.domain.stream import StreamState
from emostream.errors import EventRejectedError
from emostream.wire.events import (
    MAX_EVENT_BYTES,
    WireOptions,
    decode_event,
    decode_status,
    decode_summary,
    encode_event,
    encode_status,
    event_from_json,
    json_from_event,
    json_from_status,
    json_from_summary,
    status_from_json,
    summary_from_json,
)
from tests.strategies import distributions, emotion_events, status_events, summary_events

HAPPY = EmotionScores(EMOTIONS, (0.01234, 0.0, 0.0, 0.9, 0.0, 0.0, 0.08766))
EVENT = EmotionEvent(
    stream_id="door",
    epoch=1_700_000_000_123,
    frame_index=7,
    pts_seconds=0.2800004,
    captured_at=datetime(2026, 11, 23, 10, 30, 0, 5, tzinfo=UTC),
    frame_width=640,
    frame_height=360,
    model_name="emostream-cnn",
    model_version="1",
    faces=(
        FaceEmotion(
            face=Face((10.04, 20.0, 60.06, 80.0), 0.98765, ((1.0, 2.0),) * 5, track_id=3, found_by="flow"),
            scores=HAPPY,
            smoothed=HAPPY,
            quality=("small",),
            zones=("entrance",),
        ),
    ),
    latency_ms={"decode": 1.10006},
    num_dropped=2,
)
STATUS = StatusEvent("door", 5, StreamState.ENDED, datetime(2026, 11, 23, tzinfo=UTC), "end of file", 72)


def redis_fields(fields: Mapping[str, str | bytes]) -> dict[bytes, bytes]:
    """Fields as a Redis client gives them back."""
    return {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields.items()}


def test_the_json_of_an_event_is_the_documented_one() -> None:
    probabilities = dict(zip(EMOTIONS, (0.0123, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0877), strict=True))
    assert json.loads(json_from_event(EVENT)) == {
        "schema_version": 1,
        "stream_id": "door",
        "epoch": 1_700_000_000_123,
        "frame_index": 7,
        "pts_seconds": 0.28,
        "captured_at": "2026-11-23T10:30:00.000005Z",
        "frame_width": 640,
        "frame_height": 360,
        "model_name": "emostream-cnn",
        "model_version": "1",
        "latency_ms": {"decode": 1.1},
        "num_dropped": 2,
        "faces": [
            {
                "track_id": 3,
                "box_xyxy": [10.0, 20.0, 60.1, 80.0],
                "landmarks": [[1.0, 2.0]] * 5,
                "score": 0.9877,
                "found_by": "flow",
                "probabilities": probabilities,
                "smoothed_probabilities": probabilities,
                "dominant": "happy",
                "confidence": 0.9,
                "quality": ["small"],
                "zones": ["entrance"],
            }
        ],
    }


def test_the_json_of_a_status_event_is_the_documented_one() -> None:
    assert json.loads(json_from_status(STATUS)) == {
        "schema_version": 1,
        "stream_id": "door",
        "epoch": 5,
        "state": "ended",
        "at": "2026-11-23T00:00:00.000000Z",
        "detail": "end of file",
        "num_events": 72,
        "kind": "state",
    }


@given(emotion_events)
def test_an_event_comes_back_but_for_rounding(event: EmotionEvent) -> None:
    read = decode_event(redis_fields(encode_event(event)))
    assert replace(read, faces=(), latency_ms={}, pts_seconds=0) == replace(
        event, faces=(), latency_ms={}, pts_seconds=0, captured_at=event.captured_at.astimezone(UTC)
    )
    assert read.pts_seconds == pytest.approx(event.pts_seconds, abs=1e-6)
    assert read.latency_ms == pytest.approx(event.latency_ms, abs=1e-3)
    assert len(read.faces) == len(event.faces)
    for got, sent in zip(read.faces, event.faces, strict=True):
        assert (got.face.track_id, got.face.found_by, got.quality, got.zones, got.dominant) == (
            sent.face.track_id,
            sent.face.found_by,
            sent.quality,
            sent.zones,
            sent.dominant,
        )
        assert got.scores.labels == sent.scores.labels
        assert got.scores.probabilities == pytest.approx(sent.scores.probabilities, abs=1.01e-4)
        assert got.smoothed.probabilities == pytest.approx(sent.smoothed.probabilities, abs=1.01e-4)
        # A tenth of a pixel of rounding, and as much again where the box would have become empty.
        assert got.face.box_xyxy == pytest.approx(sent.face.box_xyxy, abs=0.11)
        assert got.face.score == pytest.approx(sent.face.score, abs=1e-4)


@given(emotion_events)
def test_a_second_trip_changes_nothing(event: EmotionEvent) -> None:
    once = json_from_event(event)
    assert json_from_event(event_from_json(once)) == once


@given(status_events)
def test_a_status_event_comes_back(event: StatusEvent) -> None:
    read = decode_status(redis_fields(encode_status(event)))
    assert read == replace(event, at=event.at.astimezone(UTC))


@given(distributions())
@example((0.0, 0.0, 0.0, 0.4298345351200587, 0.11560772046462665, 0.024723209295255823, 0.42983453512005876))
def test_rounded_probabilities_sum_to_one_and_keep_their_order(probabilities: tuple[float, ...]) -> None:
    rounded = round_probabilities(probabilities)
    assert sum(rounded) == pytest.approx(1, abs=1e-9)
    assert round_probabilities(rounded) == rounded
    assert all(abs(a - b) <= 1.01e-4 for a, b in zip(rounded, probabilities, strict=True))
    in_order = [value for _, value in sorted(zip(probabilities, rounded, strict=True))]
    assert in_order == sorted(rounded)


def test_dominant_and_confidence_are_those_of_the_written_numbers() -> None:
    # The winner by less than a rounding step must not contradict the probabilities beside it.
    close = EmotionScores(("a", "b", "c"), (0.400001, 0.400002, 0.199997))
    face = replace(EVENT.faces[0], smoothed=close, dominant="")
    written = json.loads(json_from_event(replace(EVENT, faces=(face,))))["faces"][0]
    assert written["smoothed_probabilities"][written["dominant"]] == max(written["smoothed_probabilities"].values())
    assert written["confidence"] == max(written["smoothed_probabilities"].values())


@pytest.mark.parametrize(
    "event",
    [
        replace(EVENT, pts_seconds=float("nan")),
        replace(EVENT, latency_ms={"decode": float("inf")}),
        replace(EVENT, faces=(replace(EVENT.faces[0], face=Face((0, 0, float("inf"), 1), 1, ((0, 0),) * 5)),)),
        replace(EVENT, epoch=2**53),
        replace(EVENT, model_name="\ud800"),
        replace(EVENT, captured_at=datetime.max.replace(tzinfo=UTC) - timedelta(0), frame_index=2**60),
    ],
    ids=["nan", "inf", "endless-box", "epoch", "surrogate", "frame-index"],
)
def test_what_json_cannot_hold_is_refused(event: EmotionEvent) -> None:
    with pytest.raises(EventRejectedError, match="door"):
        encode_event(event)


def test_names_that_look_like_numbers_json_lacks_are_fine() -> None:
    event = replace(EVENT, model_name="NaN", model_version="-Infinity")
    assert event_from_json(json_from_event(event)).model_name == "NaN"


# --- hostile input ----------------------------------------------------------------------------------------------------

VALID: dict[str, Any] = json.loads(json_from_event(EVENT))
VALID_FACE: dict[str, Any] = VALID["faces"][0]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_noise_is_rejected(noise: bytes | str) -> None:
    for parse in (event_from_json, status_from_json):
        with pytest.raises(EventRejectedError):
            parse(noise)


@given(json_values)
def test_any_other_json_is_rejected(value: object) -> None:
    with pytest.raises(EventRejectedError):
        event_from_json(json.dumps(value))


@given(name=st.sampled_from(sorted(VALID)), value=json_values)
def test_one_changed_value_is_an_event_or_rejected(name: str, value: object) -> None:
    _is_event_or_rejected(json.dumps({**VALID, name: value}))


@given(name=st.sampled_from(sorted(VALID_FACE)), value=json_values)
def test_one_changed_value_of_a_face_is_an_event_or_rejected(name: str, value: object) -> None:
    _is_event_or_rejected(json.dumps({**VALID, "faces": [{**VALID_FACE, name: value}]}))


@given(st.integers(0, len(json_from_event(EVENT)) - 1), st.characters(codec="utf-8"))
def test_one_changed_character_is_an_event_or_rejected(position: int, character: str) -> None:
    text = json_from_event(EVENT)
    _is_event_or_rejected(text[:position] + character + text[position + 1 :])


def _is_event_or_rejected(text: str) -> None:
    try:
        event = event_from_json(text)
    except EventRejectedError as exc:
        assert len(str(exc)) <= 300
    else:
        event_from_json(json_from_event(event))


@pytest.mark.parametrize("missing", sorted(set(VALID) - {"faces"}))
def test_a_missing_name_is_rejected_by_name(missing: str) -> None:
    rest = {name: value for name, value in VALID.items() if name != missing}
    with pytest.raises(EventRejectedError, match=missing):
        event_from_json(json.dumps(rest))


def test_values_that_later_versions_add_to_open_lists_are_kept() -> None:
    event = event_from_json(json.dumps({**VALID, "faces": [{**VALID_FACE, "quality": ["small", "backlit"]}]}))
    assert event.faces[0].quality == ("small", "backlit")
    status = json.loads(json_from_status(STATUS)) | {"kind": "paused"}
    assert status_from_json(json.dumps(status)).kind == "paused"


def test_names_of_later_versions_are_ignored() -> None:
    grown = {**VALID, "zone": "door", "faces": [{**VALID_FACE, "age": 40}]}
    assert event_from_json(json.dumps(grown)) == event_from_json(json_from_event(EVENT))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"faces":' * 50_000,
        "9" * 10_000,
        json.dumps({**VALID, "schema_version": 2}),
        json.dumps({**VALID, "epoch": "5"}),
        json.dumps({**VALID, "epoch": True}),
        json.dumps({**VALID, "epoch": 2**60}),
        json_from_event(EVENT).replace("0.28", "1e999"),
        json_from_event(EVENT).replace("0.28", "NaN"),
        json.dumps({**VALID, "captured_at": "0001-01-01T00:00:00+14:00"}),
        json.dumps({**VALID, "captured_at": "2026-11-23T00:00:00"}),
        json.dumps({**VALID, "captured_at": 0}),
        json.dumps({**VALID, "faces": [{**VALID_FACE, "box_xyxy": [5, 5, 1, 1]}]}),
        json.dumps({**VALID, "faces": [{**VALID_FACE, "probabilities": {"happy": 0.5}}]}),
        json.dumps({**VALID, "faces": [{**VALID_FACE, "dominant": "hungry"}]}),
        json.dumps({**VALID, "faces": [{**VALID_FACE, "landmarks": [[1, 2]]}]}),
        " " * (MAX_EVENT_BYTES + 1),
    ],
    ids=lambda text: text[:20],
)
def test_hostile_entries_are_rejected(text: str) -> None:
    with pytest.raises(EventRejectedError):
        event_from_json(text)


@pytest.mark.parametrize("decode", [decode_event, decode_status])
@pytest.mark.parametrize(
    "fields", [{}, {b"other": b"1"}, {b"\xff" * 100: b""}, {b"event": b"\xff\xfe"}, {b"event": b""}]
)
def test_entries_that_are_no_events_are_rejected(
    decode: Callable[[dict[bytes, bytes]], object], fields: dict[bytes, bytes]
) -> None:
    with pytest.raises(EventRejectedError):
        decode(fields)


def test_an_event_is_no_status_event_and_the_other_way_round() -> None:
    with pytest.raises(EventRejectedError):
        status_from_json(json_from_event(EVENT))
    with pytest.raises(EventRejectedError):
        event_from_json(json_from_status(STATUS))
    with pytest.raises(EventRejectedError):
        summary_from_json(json_from_event(EVENT))


@given(summary_events)
def test_a_summary_event_comes_back_but_for_rounding(event: SummaryEvent) -> None:
    once = json_from_summary(event)
    read = decode_summary({b"event": once.encode()})
    assert json_from_summary(read) == once
    assert read.mean_probabilities == pytest.approx(event.mean_probabilities, abs=1e-4)
    assert (read.dominant_counts, read.ended_at) == (event.dominant_counts, event.ended_at)


def test_the_largest_events_that_the_settings_allow_are_read_back() -> None:
    zones = tuple(f"zone number {number} of the hall" for number in range(8))
    event = replace(EVENT, faces=tuple(replace(face, zones=zones) for face in EVENT.faces * 1000))
    text = json_from_event(event, WireOptions(probability_digits=6))
    assert len(text) > 600_000
    assert len(event_from_json(text).faces) == 1000


def test_an_unknown_emotion_has_no_confidence() -> None:
    face = replace(EVENT.faces[0], dominant=UNKNOWN)
    written = json.loads(json_from_event(replace(EVENT, faces=(face,))))["faces"][0]
    assert (written["dominant"], written["confidence"]) == ("unknown", 0.0)


def test_a_face_without_landmarks_comes_back() -> None:
    bare = replace(EVENT.faces[0], face=replace(EVENT.faces[0].face, landmarks=()))
    text = json_from_event(replace(EVENT, faces=(bare,)))
    assert "landmarks" not in text
    assert event_from_json(text).faces[0].face.landmarks == ()


def test_an_event_gives_its_json_itself() -> None:
    assert EVENT.to_json() == json_from_event(EVENT)
    assert EVENT.to_dict() == json.loads(json_from_event(EVENT))
