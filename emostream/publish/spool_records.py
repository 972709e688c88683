"""Pure: what the records of a spool hold."""

from __future__ import annotations

from collections.abc import Sequence

from emostream.errors import EventRejectedError
from emostream.event import EmotionEvent
from emostream.publish.segments import Record
from emostream.publish.wire import event_from_json

EVENT, STATUS, SUMMARY = b"e", b"s", b"u"
"""The kinds of records; their content is the JSON of an event."""


def num_alike(records: Sequence[Record]) -> int:
    """How many records from the first one can be sent in one call: events of one epoch, or one other record."""
    first_epoch = _epoch_of(records[0])
    if first_epoch is None:
        return 1
    return next((number for number, record in enumerate(records) if _epoch_of(record) != first_epoch), len(records))


def num_announced(record: Record) -> int:
    """How many lost frames an event announces; 0 for other records."""
    event = _event_of(record)
    return 0 if event is None else event.num_dropped


def _epoch_of(record: Record) -> int | None:
    event = _event_of(record)
    return None if event is None else event.epoch


def _event_of(record: Record) -> EmotionEvent | None:
    """None for other records, and for what another version wrote and this one cannot read."""
    if record.kind != EVENT:
        return None
    try:
        return event_from_json(record.content)
    except EventRejectedError:
        return None
