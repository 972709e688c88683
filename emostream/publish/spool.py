"""Keeps events while their sink is away, on disk, and sends them in order afterwards (decision D8)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Self

from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.publish.redis_connection import retry_delays
from emostream.publish.segments import QueueFullError, Record, SegmentQueue
from emostream.publish.sink import EventSink, publish_summary
from emostream.publish.spool_records import EVENT, STATUS, SUMMARY, num_alike, num_announced
from emostream.publish.wire import (
    event_from_json,
    json_from_event,
    json_from_status,
    json_from_summary,
    status_from_json,
    summary_from_json,
)
from emostream.stream import StreamKind, StreamState

logger = logging.getLogger(__name__)

_MAX_EVENTS_PER_SEND = 256
_FULL_PAUSE_SECONDS = 0.2  # how often a file stream looks whether a full disk has room again
_STREAMS = "streams"
_LOST_FILE = "lost"


class SpoolBusyError(ConfigError):
    """Another process spools to this folder."""


@dataclass(slots=True)
class SpoolStats:
    """Counted by the spool while it runs.

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


@dataclass(slots=True)
class _StreamSpool:
    """What waits for one stream: on disk, and behind it in memory what the disk did not take."""

    disk: SegmentQueue
    lost_path: Path
    memory: deque[Record] = field(default_factory=deque)
    num_lost: int = 0  # dropped, and not announced yet
    on_their_way: frozenset[Record] = frozenset()  # given to the sink, which has not answered yet
    undecided: list[Record] = field(default_factory=list)  # of those, dropped here: lost only if they do not arrive
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __len__(self) -> int:
        return len(self.disk) + len(self.memory)

    def note_lost(self, num_events: int) -> None:
        """Remember dropped events over a restart as well."""
        self.num_lost = max(0, self.num_lost + num_events)
        with contextlib.suppress(OSError):  # the disk may be full
            if self.num_lost:
                self.lost_path.write_text(str(self.num_lost), encoding="utf-8")
            else:
                self.lost_path.unlink(missing_ok=True)


class SpoolSink:
    """Wraps a sink. While it is reachable events go through; while it is not they wait here, and `publish` returns.

    Events of a stream keep their order, status and summary events between them. The spool is on disk as soon as
    `publish` returns, so it survives the process; the next one with the same folder sends it. When a stream's part is
    full, a live stream loses its oldest events (an eighth of the bound at once) and its next event says how many in
    `num_dropped`; a file stream waits. A full disk counts as full; live streams then go on in memory, up to
    `max_memory_events`.

    The wrapped sink should give up soon (`max_retry_seconds` of about a second): `publish` waits for it once, when it
    goes away. With a sink that tells repeated events (Redis) nothing is published twice; with others the last events
    sent before a crash may be.

    Args:
        sink: closed with this.
        folder: for this process alone; made when missing.
        max_bytes_per_stream: bound per stream on disk.
        max_memory_events: bound per stream in memory, used when the disk is full.
        kind_of: live or file, by stream id; None means that no stream may lose events.
    """

    def __init__(
        self,
        sink: EventSink,
        *,
        folder: Path,
        max_bytes_per_stream: int = 64 << 20,
        max_memory_events: int = 1000,
        kind_of: Callable[[str], StreamKind] | None = None,
    ) -> None:
        """Takes over what an earlier process left in the folder.

        Raises:
            SpoolBusyError: another process uses the folder.
            ConfigError: it cannot be used.
        """
        self.stats = SpoolStats()
        self._sink = sink
        self._folder = folder
        self._max_bytes = max_bytes_per_stream
        self._max_memory_events = max_memory_events
        self._kind_of = kind_of or (lambda _: StreamKind.FILE)
        self._streams: dict[str, _StreamSpool] = {}
        self._draining: asyncio.Task[None] | None = None
        self._has_room = asyncio.Event()
        self._is_away = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = _locked(folder / "lock")
            for path in folder.joinpath(_STREAMS).glob("*"):
                if not _is_removed(path):
                    self._spool_of(path.name)
        except BlockingIOError as exc:
            raise SpoolBusyError(f"another process spools to {folder}; give each its own folder") from exc
        except OSError as exc:
            raise ConfigError(f"cannot spool to {folder}: {exc.strerror}; name a folder you may write") from exc

    @property
    def inner(self) -> EventSink:
        """The wrapped sink, whose counters are of interest as well."""
        return self._sink

    @property
    def num_waiting(self) -> int:
        """Records that wait, over all streams."""
        return sum(len(spool) for spool in self._streams.values())

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver events of one stream, or keep them; a file stream waits while there is no room."""
        if not events:
            return
        records = [Record(EVENT, json_from_event(event).encode()) for event in events]
        if await self._pass_on(events[0].stream_id, lambda: self._sink.publish(events), records):
            return
        self.stats.num_spooled += len(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver or keep a status event."""
        record = Record(STATUS, json_from_status(event).encode())
        was_sent = await self._pass_on(event.stream_id, lambda: self._sink.publish_status(event), [record])
        if was_sent and event.state in (StreamState.ENDED, StreamState.FAILED):
            self._streams.pop(event.stream_id, None)  # nothing waits, and no more comes

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver or keep a summary event."""
        record = Record(SUMMARY, json_from_summary(event).encode())
        await self._pass_on(event.stream_id, lambda: publish_summary(self._sink, event), [record])

    async def drain(self) -> None:
        """Wait until nothing waits any more."""
        self._start_draining()
        while self._draining is not None and not self._draining.done():
            await asyncio.wait([self._draining])
            self._start_draining()

    async def close(self) -> None:
        """Close the sink. What waits stays on disk; what waits in memory for a full disk is lost."""
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)
        self._lock_file.close()
        await self._sink.close()

    async def __aenter__(self) -> Self:
        """Begin to send what an earlier process left."""
        self._start_draining()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()

    # --- in -----------------------------------------------------------------------------------------------------------

    def _spool_of(self, stream_id: str) -> _StreamSpool:
        spool = self._streams.get(stream_id)
        if spool is None:
            folder = self._folder / _STREAMS / stream_id
            queue = SegmentQueue(folder, max_bytes=self._max_bytes)
            spool = self._streams[stream_id] = _StreamSpool(queue, lost_path=folder / _LOST_FILE)
            with contextlib.suppress(OSError, ValueError):
                spool.num_lost = int(spool.lost_path.read_text(encoding="utf-8"))
        return spool

    async def _pass_on(self, stream_id: str, send: Callable[[], Awaitable[None]], records: Sequence[Record]) -> bool:
        """Send now if nothing waits before it and the sink is there, else keep; whether it was sent."""
        spool = self._spool_of(stream_id)
        is_live = self._kind_of(stream_id) is StreamKind.LIVE
        while True:
            async with spool.lock:
                if not len(spool) and not spool.num_lost and not self._is_away:
                    try:
                        await send()
                    except SinkUnavailableError as exc:
                        logger.warning("events wait in %s: %s", self._folder, exc)
                        self._is_away = True
                    else:
                        return True
                was_kept = self._try_to_keep(spool, records, is_live=is_live)
            self._start_draining()
            if was_kept:
                return False
            # Where nothing waits (the disk was full from the beginning) nobody else finds out that the sink is back.
            self._is_away = self._is_away and self.num_waiting > 0
            self._has_room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FULL_PAUSE_SECONDS):
                    await self._has_room.wait()

    def _try_to_keep(self, spool: _StreamSpool, records: Sequence[Record], *, is_live: bool) -> bool:
        while True:
            try:
                spool.disk.append([*spool.memory, *records])
            except QueueFullError:
                if not is_live:
                    return False
                try:
                    self._leave_out_unreadable(spool)
                    oldest = spool.disk.drop_oldest()
                except OSError:  # what would be lost cannot be read now
                    break
                if not oldest:
                    break
                self._drop(spool, oldest)
            else:
                spool.memory.clear()
                return True
        spool.memory.extend(records)
        for _ in range(len(spool.memory) - self._max_memory_events):
            self._drop(spool, [spool.memory.popleft()])
        return True

    def _leave_out_unreadable(self, spool: _StreamSpool) -> None:
        num_records = spool.disk.drop_unreadable()
        if num_records:
            logger.error(
                "%d events that waited in %s are lost: expected the files that were written there, got damaged or "
                "removed ones; check the disk, and that nothing else works in that folder",
                num_records,
                spool.lost_path.parent,
            )
            self.stats.num_dropped += num_records
            spool.note_lost(num_records)

    def _drop(self, spool: _StreamSpool, records: Sequence[Record]) -> None:
        """Count lost events; changes of state are too important to lose and go to the end of what waits."""
        spool.undecided += [record for record in records if record in spool.on_their_way]
        lost = [record for record in records if record not in spool.on_their_way]
        num_events = sum(record.kind == EVENT for record in lost)
        self.stats.num_dropped += num_events
        # What those events announced themselves is announced by the next one as well.
        spool.note_lost(num_events + sum(map(num_announced, lost)))
        spool.memory.extend(record for record in lost if record.kind == STATUS)

    # --- out ----------------------------------------------------------------------------------------------------------

    def _start_draining(self) -> None:
        if self.num_waiting and (self._draining is None or self._draining.done()):
            self._draining = asyncio.get_running_loop().create_task(self._drain(), name="emostream-spool")

    async def _drain(self) -> None:
        delays = retry_delays()
        while self.num_waiting:
            try:
                is_all_readable = True
                for stream_id in [stream_id for stream_id, spool in self._streams.items() if len(spool)]:
                    is_all_readable &= await self._send_some_readable(self._streams[stream_id])
                self._is_away = False
            except (SinkUnavailableError, ConfigError):  # a login that is refused now may be accepted again
                self._is_away = True
                await asyncio.sleep(next(delays))
            else:
                if is_all_readable:
                    delays = retry_delays()
                else:
                    await asyncio.sleep(next(delays))
        self._is_away = False

    async def _send_some_readable(self, spool: _StreamSpool) -> bool:
        """False when the disk does not give them now; that holds up no other stream."""
        try:
            await self._send_some(spool)
        except OSError as exc:
            logger.warning("cannot read what waits in %s (%s); trying again", spool.lost_path.parent, exc.strerror)
            return False
        return True

    async def _send_some(self, spool: _StreamSpool) -> None:
        """Send the oldest records of a stream, up to a change of their kind or epoch."""
        peeked = spool.disk.peek(_MAX_EVENTS_PER_SEND)
        if not peeked.records and len(spool.disk):
            self._leave_out_unreadable(spool)
            return
        on_disk = bool(peeked.records)
        if on_disk:
            peeked = spool.disk.peek(num_alike(peeked.records))
            records = peeked.records
        else:
            records = list(spool.memory)[:_MAX_EVENTS_PER_SEND]
            records = records[: num_alike(records)]
        num_lost, spool.on_their_way = spool.num_lost, frozenset(records)
        try:
            was_sent = await self._send(records, num_lost=num_lost)
        except BaseException:
            undecided, spool.on_their_way, spool.undecided = spool.undecided, frozenset(), []
            self._drop(spool, undecided)
            raise
        async with spool.lock:
            spool.on_their_way, spool.undecided = frozenset(), []
            if on_disk:
                spool.disk.take(peeked)  # takes nothing if they were dropped meanwhile
            else:
                _take_from(spool.memory, records)
            if records[0].kind == EVENT:
                self.stats.num_sent += len(records) if was_sent else 0
                if num_lost and was_sent:
                    spool.note_lost(-num_lost)
        self._has_room.set()

    async def _send(self, records: Sequence[Record], *, num_lost: int) -> bool:
        """Whether the sink took them; those it will never take are counted."""
        try:
            if records[0].kind == EVENT:
                events = [event_from_json(record.content) for record in records]
                events[0] = replace(events[0], num_dropped=events[0].num_dropped + num_lost)
                await self._sink.publish(events)
            elif records[0].kind == STATUS:
                await self._sink.publish_status(status_from_json(records[0].content))
            else:
                await publish_summary(self._sink, summary_from_json(records[0].content))
        except EventRejectedError as exc:
            logger.warning("spooled events are dropped: %s", exc)
            self.stats.num_rejected += len(records)
            return False
        return True


def _take_from(memory: deque[Record], records: Sequence[Record]) -> None:
    """Take records off the front, as far as they are still there: some may have been dropped, or moved to the disk."""
    for record in records:
        if memory and memory[0] is record:
            memory.popleft()


def _is_removed(folder: Path) -> bool:
    """Whether nothing was in it."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _locked(path: Path) -> IO[bytes]:
    """Raises `BlockingIOError` when another process, or another spool of this one, has the lock."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file
