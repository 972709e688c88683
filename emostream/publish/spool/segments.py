"""A queue of records in files that survives the end of the process, whatever ended it."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from emostream.files import FOLDER_MODE, make_private_file

_HEADER = struct.Struct(">IIc")  # length of the content, its CRC-32, its kind
SEGMENT_SUFFIX = ".spool"
"""Of the files in which records lie."""
_NUM_SEGMENTS = 8  # whole segments are dropped, so one is an eighth of the bound


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept.

    Attributes:
        kind: one byte, for the user of the queue.
        content: any bytes, one at least.
    """

    kind: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Peeked:
    """The oldest records, and where they end: for `take`."""

    records: list[Record]
    segment: object
    end_bytes: int


class QueueFullError(Exception):
    """The bound is reached, or the disk is full; nothing was added."""


@dataclass(slots=True)
class _Segment:
    path: Path
    num_records: int = 0
    size_bytes: int = 0
    read_records: int = 0
    read_bytes: int = 0


class SegmentQueue:
    """First in, first out; records lie in segment files in one folder, in the order of their names.

    A record counts as kept when the operating system has it: it survives the process, not a power cut. A record that
    was cut by a crash is left out. What was taken shortly before a crash is there again afterwards. Files of an earlier
    process are never written to, so that what is wrong at their end costs nothing that comes later. Not thread-safe;
    one queue per folder.

    Args:
        folder: made with the first record; what an earlier process left there is in the queue.
        max_bytes: bound on the files together.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = max(1, max_bytes // _NUM_SEGMENTS)
        self._segments: deque[_Segment] = deque(_recovered(path) for path in sorted(folder.glob(f"*{SEGMENT_SUFFIX}")))
        self._open: _Segment | None = None  # the last one, when this process made it
        self._next_number = 1 + max((int(segment.path.stem) for segment in self._segments), default=0)
        self._remove_read_segments()

    def __len__(self) -> int:
        """How many records wait."""
        return sum(segment.num_records - segment.read_records for segment in self._segments)

    @property
    def size_bytes(self) -> int:
        """Size of the files together."""
        return sum(segment.size_bytes for segment in self._segments)

    def append(self, records: Sequence[Record]) -> None:
        """Add all of the records, or none.

        Raises:
            QueueFullError: they do not fit, or the disk is full.
        """
        content = b"".join(_framed(record) for record in records)
        if self.size_bytes + len(content) > self._max_bytes and self._segments:
            raise QueueFullError(f"{self._folder} holds {self.size_bytes} of {self._max_bytes} bytes")
        try:
            segment = self._segment_with_room()
            with segment.path.open("ab", buffering=0) as file:
                try:
                    _write_all(file.fileno(), content)
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(segment.size_bytes)
                    raise
        except OSError as exc:
            raise QueueFullError(f"cannot write to {self._folder}: {exc.strerror}") from exc
        segment.size_bytes += len(content)
        segment.num_records += len(records)

    def peek(self, max_records: int) -> Peeked:
        """The oldest records, all of one segment; none when the queue is empty, or they cannot be read any more.

        Raises:
            OSError: they may be there, but the file cannot be read now.
        """
        if not self._segments:
            return Peeked([], None, 0)
        segment = self._segments[0]
        try:
            with segment.path.open("rb") as file:
                file.seek(segment.read_bytes)
                content = file.read(segment.size_bytes - segment.read_bytes)
        except FileNotFoundError:
            content = b""
        records, end_bytes = _intact(content, max_records=max_records)
        return Peeked(records, segment, segment.read_bytes + end_bytes)

    def take(self, peeked: Peeked) -> bool:
        """Take what `peek` gave; False when it was dropped in between."""
        if not self._segments or self._segments[0] is not peeked.segment:
            return False
        segment = self._segments[0]
        segment.read_records += len(peeked.records)
        segment.read_bytes = peeked.end_bytes
        self._remove_read_segments()
        return True

    def drop_oldest(self) -> list[Record]:
        """Drop the oldest segment; what was waiting in it."""
        if not self._segments:
            return []
        records = self.peek(self._segments[0].num_records).records
        self._segments.popleft().path.unlink(missing_ok=True)
        return records

    def drop_unreadable(self) -> int:
        """Drop what was damaged or removed behind our back at the front, as far as its segment goes: how many records.

        Raises:
            OSError: a file cannot be read now.
        """
        num_dropped = 0
        while self._segments and not self.peek(1).records:
            segment = self._segments.popleft()
            segment.path.unlink(missing_ok=True)
            num_dropped += segment.num_records - segment.read_records
        return num_dropped

    def _segment_with_room(self) -> _Segment:
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment is not self._open or segment.size_bytes >= self._segment_bytes:
            path = self._folder / f"{self._next_number:012d}{SEGMENT_SUFFIX}"
            self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            make_private_file(path)
            self._next_number += 1
            self._open = segment = _Segment(path)
            self._segments.append(segment)
        return segment

    def _remove_read_segments(self) -> None:
        while self._segments and self._segments[0].read_records == self._segments[0].num_records:
            self._segments.popleft().path.unlink(missing_ok=True)


def _framed(record: Record) -> bytes:
    return _HEADER.pack(len(record.content), zlib.crc32(record.content), record.kind) + record.content


def _frames(content: bytes) -> Iterator[tuple[Record, bool, int]]:
    """Records that are there in full length, whether their checksum is right, and where they end."""
    at = 0
    while at + _HEADER.size <= len(content):
        length, checksum, kind = _HEADER.unpack_from(content, at)
        end = at + _HEADER.size + length
        if length == 0 or end > len(content):  # zeros after a power cut, or the process ended while it wrote
            return
        body = content[at + _HEADER.size : end]
        yield Record(kind, body), zlib.crc32(body) == checksum, end
        at = end


def _intact(content: bytes, *, max_records: int) -> tuple[list[Record], int]:
    """The undamaged records at the beginning, and where they end."""
    records: list[Record] = []
    end = 0
    for record, is_intact, record_end in islice(_frames(content), max_records):
        if not is_intact:
            break
        records.append(record)
        end = record_end
    return records, end


def _recovered(path: Path) -> _Segment:
    """What an earlier process left; damaged records count as waiting until `drop_unreadable` comes to them."""
    content = path.read_bytes()
    return _Segment(path, num_records=sum(1 for _ in _frames(content)), size_bytes=len(content))


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
