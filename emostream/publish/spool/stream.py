"""What waits for one stream: on disk, and behind it in memory what the disk did not take, or in memory alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emostream.domain.event import EmotionEvent
from emostream.errors import EventRejectedError
from emostream.files import make_private_file
from emostream.publish.spool.segments import Peeked, QueueFullError, Record, SegmentQueue
from emostream.wire.events import event_from_json

EVENT, STATUS, SUMMARY, VOICE = b"e", b"s", b"u", b"v"
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


logger = logging.getLogger(__name__)

_MAX_RECORDS_PER_BATCH = 256
_LOST_FILE = "lost"
_LIVE_FILE = "live"  # an empty file: what waits is of a live stream


@dataclass(slots=True)
class SpoolStats:
    """Counted by a spool while it runs.

    Attributes:
        num_spooled: events that had to wait.
        num_sent: events sent from the spool.
        num_dropped: events of live streams dropped because the spool was full, and records that were damaged there.
        num_rejected: events the sink refused for ever, for example because another owner has the stream.
    """

    num_spooled: int = 0
    num_sent: int = 0
    num_dropped: int = 0
    num_rejected: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The oldest records, alike enough for one call of the sink.

    Attributes:
        records: one at least.
        num_lost: events that were lost before these and are not announced yet.
        peeked: where they lie on disk; None for records from memory.
    """

    records: list[Record]
    num_lost: int
    peeked: Peeked | None


@dataclass(slots=True)
class Refusal:
    """Events that a newer run of their stream shut out: they are lost.

    Attributes:
        newer_epoch: of that run.
        num_events: how many.
        first, last: (epoch, frame index) of the first and the last of them.
    """

    newer_epoch: int
    num_events: int
    first: tuple[int, int]
    last: tuple[int, int]


class StreamSpool:
    """The queue of one stream, and how many of its events were lost. The disk is asked first and read first.

    To send, take `oldest`, and then call `settle` or `give_back`; records may be kept, and the oldest dropped, in
    between.

    Args:
        folder: of this stream alone; made with the first record. None keeps everything in memory.
        max_bytes: bound on disk.
        max_memory_events: bound in memory, used when the disk is full or there is none.
        stats: dropped events are added there.

    Attributes:
        num_lost: events that are lost and not announced yet; remembered over a restart.
        lock: held while what waits is changed, so that order is kept.
        is_live: whether its events may be lost; None while that is not known. Remembered over a restart.
        refusal: events that a newer run shut out, until that is announced. Those of a file are none: the newer run
            publishes its frames again.
        has_ended: its last record says that the stream ended.
    """

    def __init__(self, folder: Path | None, *, max_bytes: int, max_memory_events: int, stats: SpoolStats) -> None:
        self.num_lost = 0
        self.lock = asyncio.Lock()
        self.is_live: bool | None = None
        self.has_ended = False
        self.refusal: Refusal | None = None
        self._folder = folder
        self._disk = None if folder is None else SegmentQueue(folder, max_bytes=max_bytes)
        self._memory: deque[Record] = deque()
        self._max_memory_events = max_memory_events
        self._stats = stats
        self._on_their_way: frozenset[Record] = frozenset()  # given to the sink, which has not answered yet
        self._is_marked = False
        self._undecided: list[Record] = []  # of those, dropped here: lost only if they do not arrive
        if folder is not None:
            if (folder / _LIVE_FILE).exists():
                self.is_live = True
            with contextlib.suppress(OSError, ValueError):
                self.num_lost = int((folder / _LOST_FILE).read_text(encoding="utf-8"))

    def __len__(self) -> int:
        """How many records wait."""
        return (0 if self._disk is None else len(self._disk)) + len(self._memory)

    @property
    def num_in_memory(self) -> int:
        """How many of them wait in memory, and end with the process."""
        return len(self._memory)

    @property
    def folder(self) -> Path | None:
        """Where they wait; None is in memory."""
        return self._folder

    def remove_empty_folder(self) -> bool:
        """Remove the folder of a stream for which nothing waits; whether nothing is left of it."""
        if len(self) or self.num_lost or self.refusal:
            return False
        if self._folder is None:
            return True
        self._is_marked = False
        return remove_without_records(self._folder)

    # --- in -----------------------------------------------------------------------------------------------------------

    def keep(self, records: Sequence[Record], *, is_live: bool) -> bool:
        """Add records; a live stream drops its oldest for them. False when there is no room and nothing may be lost."""
        if self._disk is None:
            return self._keep_in_memory(records, is_live)
        return self._keep(self._disk, records, is_live)

    def _keep(self, disk: SegmentQueue, records: Sequence[Record], is_live: bool) -> bool:
        while True:
            try:
                disk.append([*self._memory, *records])
            except QueueFullError:
                if not is_live:
                    return False
                try:
                    self._note_unreadable(disk.drop_unreadable())
                    num_waiting = len(disk)
                    oldest = disk.drop_oldest()
                except OSError:  # what would be lost cannot be read now
                    break
                if not oldest:
                    break
                self._drop(oldest)
                self._note_unreadable(num_waiting - len(disk) - len(oldest))
            else:
                self._memory.clear()
                self._mark_live(is_live)
                return True
        return self._keep_in_memory(records, is_live)

    def _mark_live(self, is_live: bool) -> None:
        if is_live and self._folder is not None and not self._is_marked:
            with contextlib.suppress(OSError):
                make_private_file(self._folder / _LIVE_FILE)
                self._is_marked = True

    def _keep_in_memory(self, records: Sequence[Record], is_live: bool) -> bool:
        if not is_live and self._memory and len(self._memory) + len(records) > self._max_memory_events:
            return False
        self._memory.extend(records)
        if is_live:
            for _ in range(len(self._memory) - self._max_memory_events):
                self._drop([self._memory.popleft()])
        return True

    def _note_unreadable(self, num_records: int) -> None:
        if num_records:
            logger.error(
                "%d events that waited in %s are lost: expected the files that were written there, got damaged or "
                "removed ones; check the disk, and that nothing else works in that folder",
                num_records,
                self._folder,
            )
            self._stats.num_dropped += num_records
            self._note_lost(num_records)

    def _drop(self, records: Sequence[Record]) -> None:
        """Count lost events; changes of state are too important to lose and go to the end of what waits."""
        self._undecided += [record for record in records if record in self._on_their_way]
        lost = [record for record in records if record not in self._on_their_way]
        num_events = sum(record.kind == EVENT for record in lost)
        self._stats.num_dropped += num_events
        # What those events announced themselves is announced by the next one as well.
        self._note_lost(num_events + sum(map(num_announced, lost)))
        self._memory.extend(record for record in lost if record.kind == STATUS)

    def _note_lost(self, num_events: int) -> None:
        self.num_lost = max(0, self.num_lost + num_events)
        if self._folder is None:
            return
        path = self._folder / _LOST_FILE
        with contextlib.suppress(OSError):  # the disk may be full
            if self.num_lost:
                make_private_file(path)
                path.write_text(str(self.num_lost), encoding="utf-8")
            else:
                path.unlink(missing_ok=True)

    # --- out ----------------------------------------------------------------------------------------------------------

    def oldest(self) -> Batch | None:
        """The oldest records, up to a change of their kind or epoch; None after damaged ones were left out.

        Raises:
            OSError: the disk does not give them now.
        """
        disk = self._disk
        peeked = None if disk is None else disk.peek(_MAX_RECORDS_PER_BATCH)
        if disk is not None and peeked is not None and peeked.records:
            peeked = disk.peek(num_alike(peeked.records))
            records = peeked.records
        elif disk is not None and len(disk):
            self._note_unreadable(disk.drop_unreadable())
            return None
        else:
            peeked = None
            records = list(self._memory)[:_MAX_RECORDS_PER_BATCH]
            records = records[: num_alike(records)]
        self._on_their_way = frozenset(records)
        return Batch(records, self.num_lost, peeked)

    def settle(self, batch: Batch, *, was_sent: bool, newer_epoch: int | None = None) -> None:
        """The sink has answered: these wait no more, whether it took them or refuses them for ever.

        Args:
            batch: from `oldest`.
            was_sent: whether it took them.
            newer_epoch: of the run of the stream that shut them out, where that is the reason.
        """
        if newer_epoch is not None and self.is_live:
            self._note_refusal(batch.records, newer_epoch)
        self._on_their_way, self._undecided = frozenset(), []
        if self._disk is not None and batch.peeked is not None:
            self._disk.take(batch.peeked)  # takes nothing if they were dropped meanwhile
        else:
            _take_from(self._memory, batch.records)
        if was_sent and batch.num_lost and batch.records[0].kind == EVENT:
            self._note_lost(-batch.num_lost)
            self.refusal = None  # announced as well

    def _note_refusal(self, records: Sequence[Record], newer_epoch: int) -> None:
        events = [event for record in records if (event := _event_of(record)) is not None]
        if not events:
            return
        first, last = ((event.epoch, event.frame_index) for event in (events[0], events[-1]))
        before = self.refusal
        num_events = len(events) + sum(event.num_dropped for event in events)
        self.refusal = Refusal(
            newer_epoch,
            num_events + (0 if before is None else before.num_events),
            first if before is None else before.first,
            last,
        )
        # Kept like other losses: with a crash from here on, the next event of the stream announces them.
        self._note_lost(num_events)

    def announced_refusal(self) -> None:
        """What a newer run shut out has been announced."""
        if self.refusal is not None:
            self._note_lost(-self.refusal.num_events)
            self.refusal = None

    def give_back(self) -> None:
        """The sink did not take them: they wait again, and those that were dropped meanwhile are lost."""
        undecided, self._on_their_way, self._undecided = self._undecided, frozenset(), []
        self._drop(undecided)


def _take_from(memory: deque[Record], records: Sequence[Record]) -> None:
    """Take records off the front, as far as they are still there: some may have been dropped, or moved to the disk."""
    for record in records:
        if memory and memory[0] is record:
            memory.popleft()


def remove_without_records(folder: Path) -> bool:
    """Remove the folder of a stream where nothing waits in it and no loss must be announced; whether it is gone."""
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {_LIVE_FILE}:
            (folder / _LIVE_FILE).unlink(missing_ok=True)
            folder.rmdir()
    return not folder.exists()
