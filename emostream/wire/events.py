"""Events ↔ JSON, MessagePack and the fields of a Redis Streams entry.

Names, order and digits follow from the declarations in `domain/event.py`; probabilities keep their sum of 1. Growth is
additive: a reader ignores names it does not know, and `SCHEMA_VERSION` grows only when a reader of the old version
would misunderstand an event.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import neg, sub
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import to_json

from emostream.domain.emotion import EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent, SummaryEvent
from emostream.domain.face import BoxXyxy, Landmarks
from emostream.errors import EventRejectedError
from emostream.wire.event_fields import reader_of, writer_of
from emostream.wire.event_models import SCHEMA_VERSION, EventWire, StatusWire, SummaryWire
from emostream.wire.msgpack import json_from_packed, pack

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
    with _Rejecting(f"event of stream {event.stream_id}"):
        return _compact_json(_event_writer(options)(event))


def packed_from_event(event: EmotionEvent, options: WireOptions = DEFAULT_OPTIONS) -> bytes:
    """An event as MessagePack; errors as in `json_from_event`."""
    with _Rejecting(f"event of stream {event.stream_id}"):
        content = _event_writer(options)(event)
        _compact_json(content)  # refuses what JSON cannot hold: both encodings can say the same
        return pack(content)


def json_from_status(event: StatusEvent) -> str:
    """A status event as compact JSON on one line.

    Raises:
        EventRejectedError: as `json_from_event`.
    """
    with _Rejecting(f"status event of stream {event.stream_id}"):
        return _compact_json(_write_status(event))


def json_from_summary(event: SummaryEvent) -> str:
    """A summary event as compact JSON on one line.

    Raises:
        EventRejectedError: as `json_from_event`.
    """
    with _Rejecting(f"summary event of stream {event.stream_id}"):
        return _compact_json(_write_summary(event))


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
        by_remainder = sorted(zip(map(sub, units, exact), map(neg, probabilities), range(len(units)), strict=True))
        for _, _, index in by_remainder[:missing]:
            units[index] += 1
    return tuple([value / num_units for value in units])


def _box(box_xyxy: BoxXyxy) -> list[float]:
    x0, y0, x1, y1 = box_xyxy
    left, top = round(x0, _PIXEL_DIGITS), round(y0, _PIXEL_DIGITS)
    right, bottom = round(x1, _PIXEL_DIGITS), round(y1, _PIXEL_DIGITS)
    # Thinner than a tenth of a pixel: it must not become empty.
    if left >= right:
        left, right = math.floor(x0 * 10) / 10, math.ceil(x1 * 10) / 10
    if top >= bottom:
        top, bottom = math.floor(y0 * 10) / 10, math.ceil(y1 * 10) / 10
    return [left, top, right, bottom]


def _landmarks(points: Landmarks) -> list[list[float]]:
    return [[round(x, _PIXEL_DIGITS), round(y, _PIXEL_DIGITS)] for x, y in points]


def _instant(at: datetime) -> str:
    in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return in_utc.isoformat(timespec="microseconds")[:-6] + "Z"  # in place of "+00:00"


_VERSION = {"schema_version": SCHEMA_VERSION}
_write_status = writer_of(StatusEvent, conversions={datetime: _instant}, first=_VERSION)
_write_summary = writer_of(SummaryEvent, conversions={datetime: _instant}, first=_VERSION)


@functools.cache
def _event_writer(options: WireOptions) -> Callable[[EmotionEvent], dict[str, Any]]:
    digits = options.probability_digits

    def write_scores(scores: EmotionScores) -> dict[str, float]:
        return dict(zip(scores.labels, round_probabilities(scores.probabilities, digits=digits), strict=True))

    write_rest = writer_of(
        FaceEmotion,
        conversions={EmotionScores: write_scores, BoxXyxy: _box, Landmarks: _landmarks},
        without=() if options.has_landmarks else ("landmarks",),
    )

    def write_face(face: FaceEmotion) -> dict[str, Any]:
        content = write_rest(face)
        content["confidence"] = content["smoothed_probabilities"].get(face.dominant, 0.0)  # as written there
        return content

    return writer_of(EmotionEvent, conversions={datetime: _instant, FaceEmotion: write_face}, first=_VERSION)


def _compact_json(content: dict[str, Any]) -> str:
    text = to_json(content, inf_nan_mode="constants").decode()  # five times as fast as the standard library
    if "NaN" in text or "Infinity" in text:  # as a number, which this refuses, or in a name, which is fine
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text


# --- decode -----------------------------------------------------------------------------------------------------------


_read_event, _read_status, _read_summary = reader_of(EmotionEvent), reader_of(StatusEvent), reader_of(SummaryEvent)


def decode_event(fields: Mapping[bytes, bytes]) -> EmotionEvent:
    """The fields of an entry, as read from Redis → the event.

    Raises:
        EventRejectedError: the entry is not an event of a version this package understands.
    """
    packed = fields.get(PACKED_FIELD.encode())
    if packed is None:
        return event_from_json(_event_field(fields))
    with _Rejecting("event"):
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
    with _Rejecting("event"):
        return _read_event(EventWire.model_validate_json(_bounded(text)))


def status_from_json(text: str | bytes) -> StatusEvent:
    """The inverse of `json_from_status`, for text from anywhere.

    Raises:
        EventRejectedError: as `event_from_json`.
    """
    with _Rejecting("status event"):
        return _read_status(StatusWire.model_validate_json(_bounded(text)))


def summary_from_json(text: str | bytes) -> SummaryEvent:
    """The inverse of `json_from_summary`, for text from anywhere.

    Raises:
        EventRejectedError: as `event_from_json`.
    """
    with _Rejecting("summary event"):
        return _read_summary(SummaryWire.model_validate_json(_bounded(text)))


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


class _Rejecting:
    """Raises `EventRejectedError` for whatever makes an event invalid; a class, as a generator costs a microsecond."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        # ValidationError is a ValueError; OverflowError comes from dates at the ends of the calendar.
        if isinstance(exc, ValidationError):
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "JSON"
            message = f"not a valid {self._what}: {where}: {first['msg']}"
        elif isinstance(exc, ValueError | OverflowError | RecursionError):
            message = f"not a valid {self._what}: {exc}"
        else:
            return
        raise EventRejectedError(message[:_MAX_MESSAGE_LENGTH]) from exc
