"""What damaged parts of a source lead to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from emostream.decode.formats.file_structure import FileStructure
from emostream.decode.source import DecodeStats
from emostream.domain.redact import redact
from emostream.domain.stream import StreamKind
from emostream.errors import DecodeError, SourceUnavailableError

# Durations in headers are estimates of some programs; a few pictures less are no cut.
_TOLERANCE_SECONDS = 0.5
_TOLERANCE_RATIO = 0.02
_MAX_PACKETS_BEFORE_KEY_FRAME = 600  # streams with gradual refresh have none: the decoder sorts them out itself


class _Packet(Protocol):
    @property
    def size(self) -> int: ...
    @property
    def is_corrupt(self) -> bool: ...
    @property
    def is_keyframe(self) -> bool: ...


PacketT = TypeVar("PacketT", bound=_Packet)


def decodable_packets(packets: Iterator[PacketT], *, kind: StreamKind, stats: DecodeStats) -> Iterator[PacketT]:
    """The packets worth decoding; an empty one, which flushes the decoder, passes through.

    Live sources start at a key frame: earlier packets refer to pictures that were not received. A damaged last packet
    (of a file that was cut) is left out, because its error would end the flush and lose good pictures.
    """
    is_waiting_for_key_frame = kind is StreamKind.LIVE
    damaged: PacketT | None = None
    for packet in packets:
        if damaged is not None:
            if packet.size:
                yield damaged
            else:
                stats.num_corrupt += 1
            damaged = None
        if packet.size:
            stats.num_packets += not packet.is_corrupt
            if is_waiting_for_key_frame:
                if not packet.is_keyframe and stats.num_packets < _MAX_PACKETS_BEFORE_KEY_FRAME:
                    continue
                is_waiting_for_key_frame = False
        if packet.is_corrupt:
            damaged = packet
        else:
            yield packet


class CorruptionLimit:
    """Counts what cannot be decoded, and gives up after `max_in_a_row` failures without a picture between them."""

    def __init__(self, *, max_in_a_row: int, name: str, kind: StreamKind, stats: DecodeStats) -> None:
        self._max_in_a_row = max_in_a_row
        self._name = name
        self._kind = kind
        self._stats = stats
        self._num_in_a_row = 0

    def picture_decoded(self) -> None:
        """There is life in the source."""
        self._num_in_a_row = 0

    def failed(self, exc: Exception) -> None:
        """Something could not be read or decoded.

        Raises:
            DecodeError: too often, in a file.
            SourceUnavailableError: too often, live; opening again may help.
        """
        self._stats.num_corrupt += 1
        self._num_in_a_row += 1
        if self._num_in_a_row >= self._max_in_a_row:
            error = DecodeError if self._kind is StreamKind.FILE else SourceUnavailableError
            said = redact(getattr(exc, "strerror", None) or str(exc))
            raise error(
                f"{self._name}: {self._num_in_a_row} packets in a row cannot be decoded, after "
                f"{self._stats.num_decoded} good pictures (the last said {said!r}); give an undamaged source, or raise "
                "decode.max_corrupt_in_a_row"
            ) from exc


def check_file_end(
    *,
    name: str,
    structure: FileStructure,
    is_index_beyond_end: bool,
    declared_num_packets: int,
    reached_seconds: float,
    declared_seconds: float | None,
    stats: DecodeStats,
    missing_seconds: float = 0.0,
) -> None:
    """Called where a file ended: was that really its end?

    Args:
        name: the source, credentials masked.
        structure: what the boxes of a local file say.
        is_index_beyond_end: whether the index names packets behind the end of the file (also known over HTTP).
        declared_num_packets: by the header; 0 when unknown.
        reached_seconds: where the last picture ends.
        declared_seconds: by the header; None when unknown.
        stats: for the number of packets, and the message.
        missing_seconds: between the end of the last packet and the end that the header declares for the video.

    Raises:
        DecodeError: the file was cut, or goes on with another recording.
    """
    if structure.is_rest_unread:
        raise DecodeError(
            f"{name}: behind the first recording, read to its end at {reached_seconds:.1f} s, the file has another one "
            "with a header of its own, which is not read; give them as files of their own, or join them with a program "
            "that writes one header"
        )
    is_short = missing_seconds > _TOLERANCE_SECONDS + _TOLERANCE_RATIO * (declared_seconds or 0.0)
    if not structure.num_missing_bytes and not is_index_beyond_end and not is_short:
        return
    if 0 < declared_num_packets <= stats.num_packets:
        return  # only sound or the index at the end is missing
    declared = f" of declared {declared_seconds:.1f} s" if declared_seconds else ""
    missing = f"; at least {structure.num_missing_bytes} bytes are missing" if structure.num_missing_bytes else ""
    raise DecodeError(
        f"{name}: file ends early at {reached_seconds:.1f} s{declared}{missing}; the {stats.num_decoded} pictures "
        "before the cut are good, give the complete file for the rest"
    )
