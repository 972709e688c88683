"""Leases of streams with increasing fencing tokens (docs/decisions/0002); the token is the epoch of events."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from emostream.domain.stream import StreamState
from emostream.errors import RecordError
from emostream.service.registry.records import (
    Lease,
    RegistryView,
    StreamRecord,
    StreamReport,
    WorkerEntry,
    json_from_record,
    json_from_report,
    record_from_json,
)
from emostream.service.registry.store import RegistryStore, text_pairs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Changes:
    """A response of the registry to a heartbeat.

    Attributes:
        now_ms: the server's clock.
        generation: changes when the server lost its data.
        version: to be sent with the next request.
        is_all: whether this is the complete state; otherwise entries that are not named are unchanged.
        records, finished, leases, workers: by id; None means that the entry was removed.
        unreadable: texts of records that this version cannot read, by id; None for all other records.
        lost: streams that the requesting worker no longer owns.
        previews: channels of the previews that are watched.
    """

    now_ms: int
    generation: str
    version: int
    is_all: bool
    records: Mapping[str, StreamRecord | None]
    unreadable: Mapping[str, str | None]
    finished: Mapping[str, StreamState | None]
    leases: Mapping[str, Lease | None]
    workers: Mapping[str, WorkerEntry | None]
    lost: tuple[str, ...]
    previews: frozenset[str]

    @classmethod
    def from_reply(cls, reply: Sequence[Any]) -> Self:
        """Parse a reply of `heartbeat.lua`. Entries are parsed one by one, so that an unreadable one affects no
        other."""
        now_ms, generation, version, is_all, records, states, workers, lost, looked_at = reply
        ids = [_text(name) for name in states[::3]]
        read = {name: _record(text) for name, text in _pairs(records).items()}
        return cls(
            now_ms=int(now_ms),
            generation=generation.decode(),
            version=int(version),
            is_all=bool(is_all),
            records={name: found if isinstance(found, StreamRecord) else None for name, found in read.items()},
            unreadable={name: found if isinstance(found, str) else None for name, found in read.items()},
            finished={name: _state(_text(text)) for name, text in zip(ids, states[1::3], strict=True)},
            leases={name: _lease(_text(text)) for name, text in zip(ids, states[2::3], strict=True)},
            workers={name: _worker(name, text) for name, text in _pairs(workers).items()},
            lost=tuple(_text(stream_id) for stream_id in lost),
            previews=frozenset(_text(name) for name in looked_at),
        )

    def after(self, view: RegistryView, *, is_loss: bool = False) -> RegistryView:
        """Apply the changes to the view at the version that was sent; returns a new view.

        Args:
            view: the view.
            is_loss: what is missing now is lost, not deleted.
        """
        deleted = view.deleted if is_loss else self._deleted_since(view)
        if self.is_all:
            view = RegistryView(0, "")
        gone = {
            stream_id: None
            for stream_id, record in self.records.items()
            if record is None and self.unreadable.get(stream_id) is None
        }
        return replace(
            view,
            now_ms=self.now_ms,
            generation=self.generation,
            records=_changed(view.records, self.records),
            unreadable=_changed_unreadable(view.unreadable, self.unreadable),
            # Nothing else is sent about a stream that was removed.
            finished=_changed(view.finished, {**gone, **self.finished}),
            leases=_changed(view.leases, {**gone, **self.leases}),
            workers=_changed(view.workers, self.workers),
            previews=self.previews,
            deleted=deleted,
        )

    def _deleted_since(self, view: RegistryView) -> dict[str, int]:
        named = view.records.keys() if self.is_all else self.records.keys() & view.records.keys()
        gone = [
            stream_id
            for stream_id in named
            if self.records.get(stream_id) is None and self.unreadable.get(stream_id) is None
        ]
        if not gone:
            return view.deleted
        found = {name: epoch for name, epoch in view.deleted.items() if name not in gone}
        found |= {stream_id: view.records[stream_id].created_epoch for stream_id in gone}
        return dict(list(found.items())[-_MAX_DELETED:])


def _changed(before: dict[str, T], changes: Mapping[str, T | None]) -> dict[str, T]:
    """A new dictionary with the changes; the same one when there are none."""
    if not changes:
        return before
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


def _changed_unreadable(before: dict[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return _changed(before, {name: text for name, text in changes.items() if text is not None or name in before})


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in zip(flat[::2], flat[1::2], strict=True)}


def _record(text: str) -> StreamRecord | str | None:
    """A record, its text where it cannot be read, or None when it was removed."""
    if not text:
        return None
    try:
        return record_from_json(text)
    except RecordError:
        return text


def _state(text: str) -> StreamState | None:
    """A final state; an unknown one of a newer version counts as ended."""
    if not text:
        return None
    try:
        return StreamState(text)
    except ValueError:
        return StreamState.ENDED


def _lease(text: str) -> Lease | None:
    """The lease, whose owner counts even when the rest is unreadable."""
    if not text:
        return None
    worker_id, _, rest = text.partition(" ")
    epoch = rest.partition(" ")[0]
    return Lease(worker_id, int(epoch) if epoch.isdecimal() else 0)


def _worker(worker_id: str, text: str) -> WorkerEntry | None:
    """Parse a worker's entry; newer workers may write more fields. None when it is unreadable."""
    said = text.split(" ")[:3]
    if len(said) < 3 or not all(word.isdecimal() for word in said):
        return None
    return WorkerEntry(worker_id, int(said[0]), int(said[1]), said[2] == "1")


logger = logging.getLogger(__name__)

_MAX_DELETED = 10_000  # that a worker remembers
_RECORDS_PER_CALL = 256  # the server runs one call without pause

LOOKS_BETWEEN_ALL = 500
"""Every this many heartbeats the complete state is requested: a server restored from slightly older data could reach a
version again that is already known."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The result of a heartbeat.

    Attributes:
        view: the registry.
        lost: streams that the worker no longer owns.
        is_new_generation: whether the server lost its data, or a part of it, since the last heartbeat.
    """

    view: RegistryView
    lost: tuple[str, ...]
    is_new_generation: bool


@dataclass(slots=True)
class LeaseStats:
    """Counters of a worker: streams claimed, released, and lost to other workers."""

    num_claimed: int = 0
    num_released: int = 0
    num_lost: int = 0


def steady_seconds() -> float:
    """A clock that cannot be set, and that goes on while the machine is suspended (on Linux)."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class _KnownTime:
    """The server's time in a reply, and when, by this machine's clock, it was asked for and received."""

    now_ms: int
    sent_seconds: float
    received_seconds: float

    def range_ms(self, seconds: float) -> tuple[int, int]:
        """What the server's clock shows at a later time, at least, and at most without further delays."""
        least, most = seconds - self.received_seconds, seconds - self.sent_seconds
        return self.now_ms + int(1000 * least), self.now_ms + int(1000 * most)


class StreamLeases:
    """The leases of one worker. `look` may be awaited concurrently, all other methods one at a time.

    Args:
        store: connection; not closed.
        worker_id: unique for each start of a worker; without white space.
        max_streams: limit that the server enforces.
        ttl_seconds: others may claim a stream when its owner sent no heartbeat for this long.
        clock: seconds; steady, and goes on while the machine is suspended.
    """

    def __init__(
        self,
        store: RegistryStore,
        *,
        worker_id: str,
        max_streams: int,
        ttl_seconds: float,
        clock: Callable[[], float] = steady_seconds,
    ) -> None:
        self.stats = LeaseStats()
        self.ttl_seconds = ttl_seconds
        self._store = store
        self._worker_id = worker_id
        self.max_streams = max_streams
        self._limit = max_streams
        self._ttl_ms = round(ttl_seconds * 1000)
        self._version: int | None = None
        self._view = RegistryView(0, "")
        self._num_looks = 0
        self._lock = asyncio.Lock()
        self._clock = clock
        self._known_time: _KnownTime | None = None

    def limit(self, num_streams: int | None) -> None:
        """Own at most this many streams from now on, and tell other workers; None resets it to the maximum."""
        self._limit = self.max_streams if num_streams is None else min(num_streams, self.max_streams)

    async def heartbeat(self, held: Mapping[str, int], *, is_draining: bool = False) -> Heartbeat:
        """Renew the leases held (stream id → epoch) and read the registry.

        When the server lost its data, the known records are written back first. A server that was restored from an
        older copy, or whose successor lacks the last changes, has lost data as well: what it misses was not deleted.

        Raises:
            RegistryUnavailableError: the server is unavailable; leases may expire meanwhile.
        """
        before, version = self._view, self._version or 0
        view, lost = await self._call(held, ttl_ms=self._ttl_ms, is_draining=is_draining)
        is_new_generation = before.generation not in ("", view.generation)
        is_older = before.generation == view.generation and (self._version or 0) < version
        if is_new_generation or is_older:
            await self._restore(before, is_older=is_older)
            view, lost = await self._call(held, ttl_ms=self._ttl_ms, is_draining=is_draining)
        self.stats.num_lost += len(lost)
        return Heartbeat(view, lost, is_new_generation or is_older)

    async def look(self) -> RegistryView:
        """Read the registry without being a worker; errors as in `heartbeat`."""
        view, _ = await self._call({}, ttl_ms=0, is_draining=False)
        return view

    async def claim(self, stream_ids: Sequence[str]) -> dict[str, int]:
        """Claim free streams, or renew the claim of those held. Returns stream id → epoch of those claimed."""
        if not stream_ids:
            return {}
        won = await self._store.run("claim", [self._worker_id, self._ttl_ms, self._limit, *stream_ids])
        epochs = {stream_id: int(epoch) for stream_id, epoch in text_pairs(won).items()}
        self.stats.num_claimed += len(epochs)
        return epochs

    async def release(self, held: Mapping[str, int]) -> None:
        """Release leases, so that others may claim these streams at once."""
        if held:
            arguments = [item for pair in held.items() for item in pair]
            await self._store.run("release", [self._worker_id, *arguments])
            self.stats.num_released += len(held)

    async def sign_off(self) -> None:
        """Remove this worker from the registry; its leases must have been released."""
        await self._store.run("release", [self._worker_id])

    async def report(self, reports: Mapping[str, StreamReport]) -> None:
        """Write reports about streams held; a final state releases the lease as well."""
        arguments: list[str | int] = [self._worker_id]
        for stream_id, report in reports.items():
            final = report.state.value if report.state.is_final else ""
            arguments += [stream_id, report.epoch, json_from_report(report), final]
        if reports:
            await self._store.run("report", arguments)
            self.stats.num_released += sum(report.state.is_final for report in reports.values())

    async def correct(self, stream_id: str, report: StreamReport, *, epoch: int) -> None:
        """Replace the last report of an earlier run, before this run of a stream held reports."""
        await self._store.run("report", [self._worker_id, stream_id, epoch, json_from_report(report), ""])

    async def _call(
        self, held: Mapping[str, int], *, ttl_ms: int, is_draining: bool
    ) -> tuple[RegistryView, tuple[str, ...]]:
        async with self._lock:  # a response contains the changes since the one before
            self._num_looks += 1
            is_known = self._version is not None and self._num_looks % LOOKS_BETWEEN_ALL
            arguments: list[str | int] = [self._worker_id, ttl_ms, self._limit, len(held), int(is_draining)]
            arguments += [self._view.generation, self._version or 0] if is_known else ["", ""]
            pairs: list[str | int] = [item for pair in held.items() for item in pair]
            sent_seconds, known_time = self._clock(), self._known_time
            expected = ("", "") if known_time is None else known_time.range_ms(sent_seconds)
            reply = await self._store.run("heartbeat", [*arguments, secrets.token_hex(8), *expected, *pairs])
            changes = Changes.from_reply(reply)
            self._known_time = _KnownTime(changes.now_ms, sent_seconds, self._clock())
            before = self._view
            is_same = changes.generation == before.generation and changes.version >= (self._version or 0)
            self._view, self._version = changes.after(before, is_loss=not is_same), changes.version
            _warn_of_unreadable(before, self._view)
            return self._view, changes.lost

    async def _restore(self, view: RegistryView, *, is_older: bool) -> None:
        """Write back a view. What the server has already stays, unless it has an older state of the same data."""
        is_newer = False
        if is_older:  # the first worker that notices knows more than the server, the others no longer do
            is_newer = bool(await self._store.run("new_generation", [view.generation, secrets.token_hex(8)]))
        texts = {stream_id: json_from_record(record) for stream_id, record in view.records.items()} | view.unreadable
        epoch = max(
            [record.created_epoch for record in view.records.values()]
            + [lease.epoch for lease in view.leases.values()],
            default=0,
        )
        records = [(name, text, view.finished.get(name, "")) for name, text in texts.items()]
        deleted = list(view.deleted.items())
        for start in range(0, max(len(records), len(deleted), 1), _RECORDS_PER_CALL):
            part = slice(start, start + _RECORDS_PER_CALL)
            arguments: list[str | int] = [int(is_newer), epoch, len(deleted[part])]
            arguments += [item for pair in deleted[part] for item in pair]
            arguments += [item for triple in records[part] for item in triple]
            await self._store.run("restore", arguments)


def _warn_of_unreadable(before: RegistryView, view: RegistryView) -> None:
    if view.unreadable is before.unreadable:
        return
    for stream_id, text in view.unreadable.items():
        if before.unreadable.get(stream_id) != text:
            logger.warning(
                "the record of stream %s cannot be read: it is damaged, or of a newer version; it is ignored and can "
                "be deleted",
                stream_id,
                extra={"stream_id": stream_id},
            )
