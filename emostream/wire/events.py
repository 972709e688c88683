"""Events ↔ JSON, MessagePack and the fields of a Redis Streams entry.

Names, order and digits follow from the declarations in `domain/event.py`; probabilities keep their sum of 1. Growth is
additive: a reader ignores names it does not know, and `SCHEMA_VERSION` grows only when a reader of the old version
would misunderstand an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.event_content import (
    compact_json,
    content_of_status,
    content_of_summary,
    content_of_voice,
    event_writer,
)
from emostream.domain.voice import VoiceEvent
from emostream.errors import EventRejectedError
from emostream.wire.event_models import EventWire, StatusWire, SummaryWire, VoiceWire, reader_of
from emostream.wire.msgpack import json_from_packed, pack

EVENT_FIELD = "event"
"""The field of an entry that holds the JSON."""

PACKED_FIELD = "packed"
"""The field that holds MessagePack instead, where a stream is published so."""

MAX_EVENT_BYTES = 1 << 21
"""Longer entries are refused unread: 64 faces take about 60 kB, 1,000 in a few zones each about 1 MB."""

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
        return compact_json(_content(event, options))


def packed_from_event(event: EmotionEvent, options: WireOptions = DEFAULT_OPTIONS) -> bytes:
    """An event as MessagePack; errors as in `json_from_event`."""
    with _Rejecting(f"event of stream {event.stream_id}"):
        content = _content(event, options)
        compact_json(content)  # refuses what JSON cannot hold: both encodings can say the same
        return pack(content)


def _content(event: EmotionEvent, options: WireOptions) -> dict[str, Any]:
    writer = event_writer(digits=options.probability_digits, has_landmarks=options.has_landmarks)
    return writer(event)


def json_from_status(event: StatusEvent) -> str:
    """A status event as compact JSON on one line.

    Raises:
        EventRejectedError: as `json_from_event`.
    """
    with _Rejecting(f"status event of stream {event.stream_id}"):
        return compact_json(content_of_status(event))


def json_from_summary(event: SummaryEvent) -> str:
    """A summary event as compact JSON on one line.

    Raises:
        EventRejectedError: as `json_from_event`.
    """
    with _Rejecting(f"summary event of stream {event.stream_id}"):
        return compact_json(content_of_summary(event))


def json_from_voice(event: VoiceEvent) -> str:
    """A voice event as compact JSON on one line.

    Raises:
        EventRejectedError: as `json_from_event`.
    """
    with _Rejecting(f"voice event of stream {event.stream_id}"):
        return compact_json(content_of_voice(event))


# --- decode -----------------------------------------------------------------------------------------------------------


_read_event, _read_status, _read_summary = reader_of(EmotionEvent), reader_of(StatusEvent), reader_of(SummaryEvent)
_read_voice = reader_of(VoiceEvent)


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


def voice_from_json(text: str | bytes) -> VoiceEvent:
    """The inverse of `json_from_voice`, for text from anywhere.

    Raises:
        EventRejectedError: as `event_from_json`.
    """
    with _Rejecting("voice event"):
        return _read_voice(VoiceWire.model_validate_json(_bounded(text)))


def decode_voice(fields: Mapping[bytes, bytes]) -> VoiceEvent:
    """The fields of an entry of the stream of voice events → the voice event.

    Raises:
        EventRejectedError: as `decode_event`.
    """
    return voice_from_json(_event_field(fields))


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
    """Raises `EventRejectedError` for what makes an event invalid; a class, as a generator costs a microsecond."""

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
