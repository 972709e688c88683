"""Keeps events while their sink is away, on disk or in memory, and sends them in order afterwards (decision D8)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from filelock import BaseFileLock, FileLock, Timeout

from emostream.domain.clock import utc_now
from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.stream import StreamKind, StreamState
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.files import FILE_MODE, make_private_folder
from emostream.publish.retry import retry_delays
from emostream.publish.sink import EventSink, Reading, check_before_work, publish_summary, publish_voice, readings_of
from emostream.publish.spool.segments import SEGMENT_SUFFIX, Record
from emostream.publish.spool.stream import (
    EVENT,
    STATUS,
    SUMMARY,
    VOICE,
    Batch,
    SpoolStats,
    StreamSpool,
    remove_without_records,
)
from emostream.wire.events import (
    event_from_json,
    json_from_event,
    json_from_status,
    json_from_summary,
    json_from_voice,
    status_from_json,
    summary_from_json,
    voice_from_json,
)

logger = logging.getLogger(__name__)

_FULL_PAUSE_SECONDS = 0.2  # how often a file stream looks whether a full disk has room again
_CLOSE_SECONDS = 5.0  # for what still waits when a sink that answers is closed
_CLOSE_LOOK_SECONDS = 0.02
_LOCK, _STREAMS, SINKS_FOLDER = "lock", "streams", "sinks"
SPOOL_NAMES = (_LOCK, _STREAMS, SINKS_FOLDER)
"""What may be in the folder of a spool; in the last one are the spools of further sinks."""


class SpoolBusyError(ConfigError):
    """Another process spools to this folder."""


class SpoolSink:
    """Wraps a sink. While it is reachable events go through; while it is not they wait here, and `publish` returns.

    Events of a stream keep their order, status and summary events between them. The spool is on disk as soon as
    `publish` returns, so it survives the process; the next one with the same folder sends it. When a stream's part is
    full, a live stream loses its oldest events (an eighth of the bound at once) and its next event says how many in
    `num_dropped`; a file stream waits. A full disk counts as full; live streams then go on in memory, up to
    `max_memory_events`. Events of a live stream that come too late, because a newer run of it has begun meanwhile, are
    announced in that run: by `num_dropped` of its next event where this process publishes it, else by a status event
    (`events_lost`).

    The wrapped sink should give up soon (`max_retry_seconds` of about a second): `publish` waits for it once, when it
    goes away. With a sink that recognises repeated events (Redis) nothing is published twice; with others the last
    events sent before a crash may be.

    With `is_detached` the wrapped sink holds up nothing at all: `publish` returns as soon as events are kept, and they
    are sent from there. Whatever the sink raises stays here: what it refuses for ever is counted and logged, anything
    else is tried again. So a sink beside another one changes nothing for that one.

    Args:
        sink: closed with this.
        folder: for this process alone; made when missing. None keeps what waits in memory: it ends with the process.
        max_bytes_per_stream: bound per stream on disk.
        max_memory_events: bound per stream in memory, used when the disk is full or there is none.
        kind_of: live or file, by stream id; None means that no stream may lose events.
        is_detached: as above.
        name: of the sink, in metrics and messages; holds no secret.
    """

    def __init__(
        self,
        sink: EventSink,
        *,
        folder: Path | None,
        max_bytes_per_stream: int = 64 << 20,
        max_memory_events: int = 1000,
        kind_of: Callable[[str], StreamKind] | None = None,
        is_detached: bool = False,
        name: str = "",
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
        self._streams: dict[str, StreamSpool] = {}
        self._draining: asyncio.Task[None] | None = None
        self._has_room = asyncio.Event()
        self._is_away = False
        self._is_detached = is_detached
        self._name = name
        self._turn = 0
        self._lock = None if folder is None else self._take_over(folder)

    def _take_over(self, folder: Path) -> BaseFileLock:
        """Lock the folder and take what waits there; errors as of the constructor."""
        lock = FileLock(folder / _LOCK, mode=FILE_MODE, thread_local=False)  # any thread may close the sink
        try:
            make_private_folder(folder, is_ours=SPOOL_NAMES.__contains__)
            make_private_folder(folder / _STREAMS)
            lock.acquire(blocking=False)
            for path in folder.joinpath(_STREAMS).glob("*"):
                if not remove_without_records(path):
                    self._spool_of(path.name)
        except Timeout as exc:
            raise SpoolBusyError(f"another process spools to {folder}; give each its own folder") from exc
        except OSError as exc:
            lock.release()
            raise ConfigError(f"cannot spool to {folder}: {exc.strerror}; name a folder you may write") from exc
        return lock

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

        def records() -> list[Record]:
            return [Record(EVENT, json_from_event(event).encode()) for event in events]

        stream_id = events[0].stream_id
        self._spool_of(stream_id).is_live = self._kind_of(stream_id) is StreamKind.LIVE
        if await self._pass_on(stream_id, lambda: self._sink.publish(events), records):
            return
        self.stats.num_spooled += len(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver or keep a status event."""

        def records() -> list[Record]:
            return [Record(STATUS, json_from_status(event).encode())]

        await self._pass_on(
            event.stream_id,
            lambda: self._sink.publish_status(event),
            records,
            is_last=event.state in (StreamState.ENDED, StreamState.FAILED),
        )

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver or keep a summary event."""

        def records() -> list[Record]:
            return [Record(SUMMARY, json_from_summary(event).encode())]

        await self._pass_on(event.stream_id, lambda: publish_summary(self._sink, event), records)

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver or keep a voice event."""

        def records() -> list[Record]:
            return [Record(VOICE, json_from_voice(event).encode())]

        await self._pass_on(event.stream_id, lambda: publish_voice(self._sink, event), records)

    async def drain(self) -> None:
        """Wait until nothing waits any more."""
        self._start_draining()
        while self._draining is not None and not self._draining.done():
            await asyncio.wait([self._draining])
            self._start_draining()

    async def check(self) -> None:
        """Check the sink, where it can be checked. A detached one may be away when work starts."""
        if not self._is_detached:
            await check_before_work(self._sink)

    def readings(self) -> Iterable[Reading]:
        """What waits and what was lost, and what the sink counts."""
        stats = self.stats
        if not self._is_detached:  # in a detached one every event waits for a moment, which is no sign of anything
            yield Reading("emostream_spool_events_total", stats.num_spooled, {"result": "spooled"})
            yield Reading("emostream_spool_events_total", stats.num_sent, {"result": "sent"})
        is_waiting = not self._is_detached or self._is_away
        yield Reading("emostream_spool_waiting_events", self.num_waiting if is_waiting else 0)
        yield Reading("emostream_events_lost_total", stats.num_dropped, {"reason": "spool_full"})
        yield Reading("emostream_events_lost_total", stats.num_rejected, {"reason": "rejected"})
        if self._name:
            yield Reading("emostream_sink_waiting_events", self.num_waiting, {"sink": self._name})
            yield Reading("emostream_sink_lost_events_total", stats.num_dropped, {"sink": self._name})
        yield from readings_of(self._sink)

    async def close(self) -> None:
        """Close the sink. What waits stays on disk; what waits in memory is lost.

        A detached sink that answers is sent first what waits for it, for 5 s at most.
        """
        if self._is_detached and self.num_waiting and not self._is_away:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    while self.num_waiting and not self._is_away:
                        self._start_draining()
                        await asyncio.sleep(_CLOSE_LOOK_SECONDS)
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)
        if num_in_memory := sum(spool.num_in_memory for spool in self._streams.values()):
            logger.warning("%d events for %s are lost: they waited in memory", num_in_memory, self._where)
        for spool in self._streams.values():
            spool.remove_empty_folder()
        if self._lock is not None:
            self._lock.release()
        await self._sink.close()

    async def __aenter__(self) -> Self:
        """Begin to send what an earlier process left."""
        self._start_draining()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close."""
        await self.close()

    # --- in -----------------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        """What messages call this."""
        return self._name or str(self._folder or "a sink")

    def _spool_of(self, stream_id: str) -> StreamSpool:
        spool = self._streams.get(stream_id)
        if spool is None:
            spool = self._streams[stream_id] = StreamSpool(
                None if self._folder is None else self._folder / _STREAMS / stream_id,
                max_bytes=self._max_bytes,
                max_memory_events=self._max_memory_events,
                stats=self.stats,
            )
        return spool

    async def _pass_on(
        self,
        stream_id: str,
        send: Callable[[], Awaitable[None]],
        records: Callable[[], list[Record]],
        *,
        is_last: bool = False,
    ) -> bool:
        """Send now if nothing waits before it and the sink is there, else keep `records()`; whether it was sent."""
        to_keep: list[Record] = []  # made when they have to wait, which is seldom, and once
        while True:
            spool = self._spool_of(stream_id)
            async with spool.lock:
                if self._streams.get(stream_id) is not spool:  # all was sent meanwhile, and it is forgotten
                    continue
                spool.has_ended = is_last
                may_send = not self._is_detached and not self._is_away
                if may_send and not len(spool) and not spool.num_lost:
                    try:
                        await send()
                    except SinkUnavailableError as exc:
                        self._note_away(exc)
                    else:
                        self._forget_ended(stream_id)
                        return True
                to_keep = to_keep or records()
                is_live = self._kind_of(stream_id) is StreamKind.LIVE if spool.is_live is None else spool.is_live
                was_kept = spool.keep(to_keep, is_live=is_live)
            self._start_draining()
            if was_kept:
                return False
            # Where nothing waits (the disk was full from the beginning) no other task finds out that the sink is back.
            self._is_away = self._is_away and self.num_waiting > 0
            self._has_room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FULL_PAUSE_SECONDS):
                    await self._has_room.wait()

    def _note_away(self, exc: Exception) -> None:
        if not self._is_away:
            logger.warning("events wait in %s: %s", self._folder or f"memory for {self._where}", exc)
        self._is_away = True

    def _forget_ended(self, stream_id: str) -> None:
        """Forget a stream that has ended and for which nothing waits."""
        spool = self._streams[stream_id]
        if spool.has_ended and spool.remove_empty_folder():
            del self._streams[stream_id]

    def _unsettled_ids(self) -> list[str]:
        """Streams for which something waits, or must be announced."""
        return [stream_id for stream_id, spool in self._streams.items() if len(spool) or spool.refusal]

    # --- out ----------------------------------------------------------------------------------------------------------

    def _start_draining(self) -> None:
        if self._unsettled_ids() and (self._draining is None or self._draining.done()):
            self._draining = asyncio.get_running_loop().create_task(self._drain(), name="emostream-spool")

    async def _drain(self) -> None:
        delays = retry_delays()
        while stream_ids := self._unsettled_ids():
            if self._is_away:  # one stream finds out whether the sink is back, each in its turn
                self._turn += 1
                stream_ids = [stream_ids[self._turn % len(stream_ids)]]
            is_well = all(await asyncio.gather(*map(self._send_some, stream_ids)))
            if is_well:
                delays = retry_delays()
            else:
                await asyncio.sleep(next(delays))
        self._is_away = False

    async def _send_some(self, stream_id: str) -> bool:
        """Send the oldest of a stream; False when the sink is away, or the disk does not give them now."""
        spool = self._streams[stream_id]
        try:
            batch = spool.oldest() if len(spool) else None
        except OSError as exc:  # holds up no other stream
            logger.warning("cannot read what waits in %s (%s); trying again", spool.folder, exc.strerror)
            return False
        if batch is None and (len(spool) or spool.refusal is None):
            return True
        try:
            if batch is not None:
                await self._send_and_settle(spool, batch)
            if spool.refusal is not None and not len(spool):
                await self._announce(stream_id, spool)
        except (SinkUnavailableError, ConfigError) as exc:  # a login that is refused now may be accepted again
            self._note_away(exc)
            return False
        except Exception as exc:  # the top of the sending task: a defect of a sink must not end it
            if not self._is_away:
                logger.exception("%s failed; trying again", self._where)
            self._note_away(exc)
            return False
        self._is_away = False
        self._forget_ended(stream_id)
        return True

    async def _send_and_settle(self, spool: StreamSpool, batch: Batch) -> None:
        newer_epoch: int | None = None
        was_sent = False
        try:
            await self._send(batch.records, num_lost=batch.num_lost)
            was_sent = True
        except EventRejectedError as exc:
            logger.warning("events for %s are dropped: %s", self._where, exc)
            self.stats.num_rejected += len(batch.records)
            newer_epoch = exc.newer_epoch
        except BaseException:
            spool.give_back()
            raise
        async with spool.lock:
            spool.settle(batch, was_sent=was_sent, newer_epoch=newer_epoch)
        if was_sent and batch.records[0].kind == EVENT:
            self.stats.num_sent += len(batch.records)
        self._has_room.set()

    async def _announce(self, stream_id: str, spool: StreamSpool) -> None:
        """Say in the newer run of a stream what of an older one came too late, where no event of this process does."""
        refusal = spool.refusal
        if refusal is None:
            return
        (first_epoch, first), (last_epoch, last) = refusal.first, refusal.last
        detail = (
            f"{refusal.num_events} events of an earlier run are lost: they waited on a disk until this run had begun "
            f"(frame {first} of epoch {first_epoch} to frame {last} of epoch {last_epoch})"
        )
        event = StatusEvent(
            stream_id,
            refusal.newer_epoch,
            StreamState.RUNNING,
            utc_now(),
            detail,
            num_events=refusal.num_events,
            kind="events_lost",
        )
        await self._sink.publish_status(event)
        async with spool.lock:
            if spool.refusal is refusal:
                spool.announced_refusal()

    async def _send(self, records: Sequence[Record], *, num_lost: int) -> None:
        """Give records to the sink; raises what it raises."""
        if records[0].kind == EVENT:
            events = [event_from_json(record.content) for record in records]
            events[0] = replace(events[0], num_dropped=events[0].num_dropped + num_lost)
            await self._sink.publish(events)
        elif records[0].kind == STATUS:
            await self._sink.publish_status(status_from_json(records[0].content))
        elif records[0].kind == VOICE:
            await publish_voice(self._sink, voice_from_json(records[0].content))
        else:
            await publish_summary(self._sink, summary_from_json(records[0].content))


def make_shared_folder(folder: Path) -> None:
    """Make the folder in which each worker of a machine has a spool folder of its own (`worker-0`, …), for its owner.

    Raises:
        OSError: it cannot be made.
    """
    make_private_folder(folder, is_ours=lambda name: name.startswith("worker-"))


def has_waiting(folder: Path) -> bool:
    """Whether records wait in the folder of a spool, or in one of further sinks within it; it may be in use."""
    records = f"{_STREAMS}/*/*{SEGMENT_SUFFIX}"
    return any(next(folder.glob(pattern), None) for pattern in (records, f"{SINKS_FOLDER}/*/{records}"))
