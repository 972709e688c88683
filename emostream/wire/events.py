"""Pure: events ↔ their form outside the process, JSON and the fields of a Redis Streams entry.

The JSON names are the names of the domain types. Numbers are rounded to what they can mean; probabilities keep their
sum of 1. Growth is additive: a reader ignores names it does not know, and `SCHEMA_VERSION` grows only when a reader
of the old version would misunderstand an event.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import to_json

from emostream.domain.emotion import EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.domain.face import Face
from emostream.errors import EventRejectedError
from emostream.wire.event_models import MAX_EXACT_INTEGER, EventWire, StatusWire, SummaryWire
from emostream.wire.msgpack import json_from_packed, pack

SCHEMA_VERSION: Literal[1] = 1

EVENT_FIELD = "event"
"""The field of an entry that holds the JSON."""

PACKED_FIELD = "packed"
"""The field that holds MessagePack instead, where a stream is published so."""

MAX_EVENT_BYTES = 1 << 21
"""Longer entries are refused unread: 64 faces take about 60 kB, 1,000 in a few zones each about 1 MB."""

_PIXEL_DIGITS = 1
_MAX_MESSAGE_LENGTH = 300  # a hostile entry must not fill the log


# --- encode -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WireOptions:
    """How events of a stream are written.

    Attributes:
        encoding: JSON in the field `event`, or MessagePack in the field `packed`.
        probability_digits: digits after the point, 2 to 6; distributions still sum to 1.
        has_landmarks: whether faces carry their landmarks.
    """

    encoding: Literal["json", "msgpack"] = "json"
    probability_digits: int = 4
    has_landmarks: bool = True

    @property
    def field(self) -> str:
        """The field of the entry that holds the event."""
        return EVENT_FIELD if self.encoding == "json" else PACKED_FIELD


DEFAULT_OPTIONS = WireOptions()


def encode_event(event: EmotionEvent, options: WireOptions = DEFAULT_OPTIONS) -> dict[str, str | bytes]:
    """An event → the fields of its entry.

    `epoch` and `frame_index` stand beside the JSON because the server compares them (`redis_sink`).
    """
    return {
        "epoch": str(event.epoch),
        "frame_index": str(event.frame_index),
        options.field: (json_from_event if options.encoding == "json" else packed_from_event)(event, options),
    }


def encode_status(event: StatusEvent) -> dict[str, str]:
    """A status event → the fields of its entry."""
    return {EVENT_FIELD: json_from_status(event)}


def json_from_event(event: EmotionEvent, options: WireOptions = DEFAULT_OPTIONS) -> str:
    """An event as compact JSON on one line.

    Raises:
        EventRejectedError: it holds a number that JSON cannot (infinite, not a number, beyond 2⁵³).
    """
    with _rejecting(f"event of stream {event.stream_id}"):
        return _compact_json(_content_of(event, options))


def packed_from_event(event: EmotionEvent, options: WireOptions = DEFAULT_OPTIONS) -> bytes:
    """An event as MessagePack; errors as in `json_from_event`."""
    with _rejecting(f"event of stream {event.stream_id}"):
        content = _content_of(event, options)
        _compact_json(content)  # refuses what JSON cannot hold: both encodings can say the same
        return pack(content)


def _content_of(event: EmotionEvent, options: WireOptions) -> dict[str, Any]:
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "stream_id": event.stream_id,
        "epoch": _exact(event.epoch),
        "frame_index": _exact(event.frame_index),
        "pts_seconds": round(event.pts_seconds, 6),
        "captured_at": _instant(event.captured_at),
        "frame_width": event.frame_width,
        "frame_height": event.frame_height,
        "model_name": event.model_name,
        "model_version": event.model_version,
        "latency_ms": {stage: round(value, 3) for stage, value in event.latency_ms.items()},
        "num_dropped": event.num_dropped,
        "faces": [_face(face, options) for face in event.faces],
    }
    if not event.is_classified:
        content["classified"] = False
    return content


def json_from_status(event: StatusEvent) -> str:
    """A status event as compact JSON on one line.

    Raises:
        EventRejectedError: as `json_from_event`.
    """
    with _rejecting(f"status event of stream {event.stream_id}"):
        return _compact_json(
            {
                "schema_version": SCHEMA_VERSION,
                "stream_id": event.stream_id,
                "epoch": _exact(event.epoch),
                "state": event.state.value,
                "at": _instant(event.at),
                "detail": event.detail,
                "num_events": event.num_events,
                "kind": event.kind,
            }
        )


def json_from_summary(event: SummaryEvent) -> str:
    """A summary event as compact JSON on one line.

    Raises:
        EventRejectedError: as `json_from_event`.
    """
    with _rejecting(f"summary event of stream {event.stream_id}"):
        return _compact_json(
            {
                "schema_version": SCHEMA_VERSION,
                "stream_id": event.stream_id,
                "epoch": _exact(event.epoch),
                "summary_index": event.summary_index,
                "started_at": _instant(event.started_at),
                "ended_at": _instant(event.ended_at),
                "started_pts_seconds": round(event.started_pts_seconds, 6),
                "ended_pts_seconds": round(event.ended_pts_seconds, 6),
                "num_frames": event.num_frames,
                "num_faces": event.num_faces,
                "num_tracks": event.num_tracks,
                "num_dropped": event.num_dropped,
                "dominant_counts": event.dominant_counts,
                "dominant_shares": {emotion: round(share, 4) for emotion, share in event.dominant_shares.items()},
                "mean_probabilities": {label: round(mean, 4) for label, mean in event.mean_probabilities.items()},
            }
        )


def round_probabilities(probabilities: tuple[float, ...], *, digits: int = 4) -> tuple[float, ...]:
    """A distribution in some digits that still sums to 1, its order kept (largest remainder method).

    >>> round_probabilities((1 / 3, 1 / 3, 1 / 3))
    (0.3334, 0.3333, 0.3333)
    """
    num_units = 10**digits
    if min(probabilities) < 0:
        probabilities = tuple(max(value, 0.0) for value in probabilities)
    total = sum(probabilities)
    exact = [value / total * num_units for value in probabilities]
    units = [int(value + 1e-6) for value in exact]  # a value that is rounded already stays
    missing = num_units - sum(units)
    if missing > 0:
        # Among equal remainders the larger value first: its order must survive, however small the difference.
        by_remainder = sorted(
            (unit - value, -probability, index)
            for index, (unit, value, probability) in enumerate(zip(units, exact, probabilities, strict=True))
        )
        for _, _, index in by_remainder[:missing]:
            units[index] += 1
    return tuple([value / num_units for value in units])


def _face(item: FaceEmotion, options: WireOptions) -> dict[str, Any]:
    face = item.face
    digits = options.probability_digits
    smoothed = _probabilities(item.smoothed, digits=digits)
    content: dict[str, Any] = {
        "track_id": face.track_id,
        "box_xyxy": _box(face),
        "score": round(face.score, 4),
        "found_by": face.found_by,
        "probabilities": _probabilities(item.scores, digits=digits),
        "smoothed_probabilities": smoothed,
        "dominant": item.dominant,
        "confidence": smoothed.get(item.dominant, 0.0),
        "quality": list(item.quality),
        "zones": list(item.zones),
    }
    if face.landmarks and options.has_landmarks:
        content["landmarks"] = [[round(x, _PIXEL_DIGITS), round(y, _PIXEL_DIGITS)] for x, y in face.landmarks]
    return content


def _box(face: Face) -> list[float]:
    x0, y0, x1, y1 = face.box_xyxy
    (left, right), (top, bottom) = _round_span(x0, x1), _round_span(y0, y1)
    return [left, top, right, bottom]


def _round_span(start: float, end: float) -> tuple[float, float]:
    first, last = round(start, _PIXEL_DIGITS), round(end, _PIXEL_DIGITS)
    if first < last:
        return first, last
    return math.floor(start * 10) / 10, math.ceil(end * 10) / 10  # thinner than a tenth of a pixel: must not be empty


def _probabilities(scores: EmotionScores, *, digits: int) -> dict[str, float]:
    return dict(zip(scores.labels, round_probabilities(scores.probabilities, digits=digits), strict=True))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _exact(number: int) -> int:
    if number >= MAX_EXACT_INTEGER:
        raise ValueError(f"expected a number below 2⁵³, got {number}")
    return number


def _compact_json(content: dict[str, Any]) -> str:
    text = to_json(content, inf_nan_mode="constants").decode()  # five times as fast as the standard library
    if "NaN" in text or "Infinity" in text:  # as a number, which this refuses, or in a name, which is fine
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text


# --- decode -----------------------------------------------------------------------------------------------------------


def decode_event(fields: Mapping[bytes, bytes]) -> EmotionEvent:
    """The fields of an entry, as read from Redis → the event.

    Raises:
        EventRejectedError: the entry is not an event of a version this package understands.
    """
    packed = fields.get(PACKED_FIELD.encode())
    if packed is None:
        return event_from_json(_event_field(fields))
    with _rejecting("event"):
        return event_from_json(json_from_packed(_bounded_bytes(packed)))


def decode_status(fields: Mapping[bytes, bytes]) -> StatusEvent:
    """The fields of an entry of the status stream → the status event.

    Raises:
        EventRejectedError: as `decode_event`.
    """
    return status_from_json(_event_field(fields))


def event_from_json(text: str | bytes) -> EmotionEvent:
    """The inverse of `json_from_event`, for text from anywhere.

    Raises:
        EventRejectedError: the text is not an event of a version this package understands.
    """
    with _rejecting("event"):
        return EventWire.model_validate_json(_bounded(text)).to_domain()


def status_from_json(text: str | bytes) -> StatusEvent:
    """The inverse of `json_from_status`, for text from anywhere.

    Raises:
        EventRejectedError: as `event_from_json`.
    """
    with _rejecting("status event"):
        return StatusWire.model_validate_json(_bounded(text)).to_domain()


def summary_from_json(text: str | bytes) -> SummaryEvent:
    """The inverse of `json_from_summary`, for text from anywhere.

    Raises:
        EventRejectedError: as `event_from_json`.
    """
    with _rejecting("summary event"):
        return SummaryWire.model_validate_json(_bounded(text)).to_domain()


def decode_summary(fields: Mapping[bytes, bytes]) -> SummaryEvent:
    """The fields of an entry of a summary stream → the summary event.

    Raises:
        EventRejectedError: as `decode_event`.
    """
    return summary_from_json(_event_field(fields))


def _event_field(fields: Mapping[bytes, bytes]) -> bytes:
    text = fields.get(EVENT_FIELD.encode())
    if text is None:
        names = ", ".join(sorted(repr(name)[:40] for name in fields)[:5]) or "none"
        raise EventRejectedError(f"an entry is not an event: expected a field {EVENT_FIELD!r}, got fields {names}")
    return text


def _bounded_bytes(packed: bytes) -> bytes:
    _bounded(packed)
    return packed


def _bounded(text: str | bytes) -> str | bytes:
    if len(text) > MAX_EVENT_BYTES:
        raise ValueError(f"expected at most {MAX_EVENT_BYTES} bytes, got {len(text)}")
    return text


@contextmanager
def _rejecting(what: str) -> Iterator[None]:
    # ValidationError is a ValueError; OverflowError comes from dates at the ends of the calendar.
    try:
        yield
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "JSON"
        raise EventRejectedError(f"not a valid {what}: {where}: {first['msg']}"[:_MAX_MESSAGE_LENGTH]) from exc
    except (ValueError, OverflowError, RecursionError) as exc:
        raise EventRejectedError(f"not a valid {what}: {exc}"[:_MAX_MESSAGE_LENGTH]) from exc
