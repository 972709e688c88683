"""Pictures on their way from the HTTP interface to a worker: what the client sent, and when it was received."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta

from emostream.errors import RecordError

_AT = struct.Struct(">d")
_CAPTURED = struct.Struct(">q")
_START = datetime(1970, 1, 1, tzinfo=UTC)

HEAD_BYTES = _AT.size
"""Of a client's message: the time in seconds, a big-endian double. The picture follows."""


def at_from_message(message: bytes) -> float:
    """The time of a client's message in seconds.

    Raises:
        RecordError: it has none.

    >>> at_from_message(struct.pack(">d", 1.5) + b"picture")
    1.5
    """
    at = _AT.unpack_from(message)[0] if len(message) >= _AT.size else math.nan
    if not 0 <= at <= 1e10:
        raise RecordError("expected 8 bytes with a time in seconds from 0 on (a big-endian double), then the picture")
    return float(at)


def bytes_from_pushed(message: bytes, *, captured_at: datetime) -> bytes:
    """A client's message as it goes to the worker."""
    return _CAPTURED.pack((captured_at - _START) // timedelta(microseconds=1)) + message


def pushed_from_bytes(content: bytes) -> tuple[datetime, float, bytes]:
    """The inverse: when it was received, its time in seconds, and the picture.

    >>> received = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    >>> content = bytes_from_pushed(struct.pack(">d", 1.5) + b"picture", captured_at=received)
    >>> pushed_from_bytes(content) == (received, 1.5, b"picture")
    True

    Raises:
        RecordError: it is none.
    """
    if len(content) < _CAPTURED.size:
        raise RecordError("expected a pushed picture")
    microseconds = _CAPTURED.unpack_from(content)[0]
    message = content[_CAPTURED.size :]
    return _START + timedelta(microseconds=microseconds), at_from_message(message), message[HEAD_BYTES:]
