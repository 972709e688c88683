"""The registry of wanted streams in Redis, which outlives all processes (docs/decisions/0002)."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from emostream.domain.stream import StreamState
from emostream.errors import EmostreamError, RecordError
from emostream.service.registry.records import (
    Lease,
    RegistryView,
    StreamRecord,
    StreamReport,
    json_from_record,
    read_report,
    record_from_json,
)
from emostream.service.registry.store import RECORDS, REPORTS, RegistryStore

_MAX_CHANGE_ATTEMPTS = 20  # of a change that conflicts with others each time; more would indicate a bug


class StreamExistsError(EmostreamError, ValueError):
    """Another stream has this id."""

    def __init__(self, message: str, *, stream_id: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id


class UnknownStreamError(EmostreamError, KeyError):
    """No stream has this id."""

    def __init__(self, message: str, *, stream_id: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id


class UnreadableRecordError(EmostreamError):
    """The entry exists, but is damaged or of a newer version, so that this version can only delete it.

    Attributes:
        record_id: id of the stream or job.
    """

    def __init__(self, message: str, *, record_id: str) -> None:
        super().__init__(message)
        self.record_id = record_id


class NotFailedError(EmostreamError):
    """Only failed streams can be retried."""

    def __init__(self, message: str, *, stream_id: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id


class StreamBusyError(EmostreamError):
    """A change conflicted with others each time it was tried."""

    def __init__(self, message: str, *, stream_id: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id


class RegistryFullError(EmostreamError):
    """The maximum number of streams is reached."""


class OwnerFullError(EmostreamError):
    """The maximum number of streams of one owner is reached."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """A stream and its status.

    Attributes:
        record: the wanted stream.
        state: state of the stream.
        detail: one sentence for people.
        report: its owner's last report; None before the first.
        lease: the lease of its owner; None without an owner.
    """

    record: StreamRecord
    state: StreamState
    detail: str
    report: StreamReport | None
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Some streams of a list.

    Attributes:
        statuses: of the page, by id.
        num_matching: how many streams the whole list has.
        has_more: whether streams come after the page.
    """

    statuses: list[StreamStatus]
    num_matching: int
    has_more: bool


class StreamRegistry:
    """Creates, reads, changes and deletes streams. Several processes may use it at once.

    Args:
        store: connection; not closed.
        max_streams: maximum number of streams that are not finished; 0 means no limit.
        max_streams_per_owner: of these, of one owner; None means no limit.
    """

    def __init__(self, store: RegistryStore, *, max_streams: int = 0, max_streams_per_owner: int | None = None) -> None:
        self._store = store
        self._max_streams = max_streams
        self._max_streams_per_owner = max_streams_per_owner
        self._sorted: tuple[dict[str, StreamRecord], list[str]] = ({}, [])
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, record: StreamRecord, *, owner: str = "") -> tuple[StreamRecord, bool]:
        """Create a stream. Idempotent: an identical request changes nothing.

        Args:
            record: of the stream.
            owner: who creates it, for the limit per owner; empty where clients are not distinguished.

        Returns:
            The record as stored, and whether it is new.

        Raises:
            StreamExistsError: another stream has the id, or a job has it for its files.
            UnreadableRecordError: the existing stream cannot be read by this version.
            RegistryFullError: there are `max_streams` unfinished ones already.
            OwnerFullError: there are `max_streams_per_owner` of this owner already.
        """
        wanted = json_from_record(replace(record, created_epoch=0))
        verdict, found = await self._put(record.stream_id, "", wanted, owner=owner)
        if verdict == "owner_full":
            raise OwnerFullError(
                f"{owner!r} has already {self._max_streams_per_owner} streams that are not finished, the maximum "
                "(service.max_streams_per_token); delete one first"
            )
        if verdict == "full":
            raise RegistryFullError(
                f"there are already {self._max_streams} streams that are not finished, the maximum; delete one first"
            )
        if verdict == "job":
            raise StreamExistsError(
                f"{record.stream_id} is an id of a file of job {found}; choose another id", stream_id=record.stream_id
            )
        stored = _read(record.stream_id, found)
        if verdict == "exists" and not stored.same_wish_as(record):
            raise StreamExistsError(
                f"stream {record.stream_id} exists with another source or other options; change or delete it, or "
                "choose another id",
                stream_id=record.stream_id,
            )
        return stored, verdict == "ok"

    async def change(self, stream_id: str, change: Callable[[StreamRecord], StreamRecord]) -> StreamRecord:
        """Replace a record by `change(record)`; called again after a conflict with another change.

        Raises:
            UnknownStreamError: there is no such stream.
            UnreadableRecordError: this version cannot read it.
            StreamBusyError: other processes changed it each time.
        """
        lock = self._changing.setdefault(stream_id, asyncio.Lock())
        async with lock:  # changes of this process do not conflict
            return await self._change(stream_id, change)

    async def _change(self, stream_id: str, change: Callable[[StreamRecord], StreamRecord]) -> StreamRecord:
        for _ in range(_MAX_CHANGE_ATTEMPTS):
            found = await self._store.field_of(RECORDS, stream_id)
            if found is None:
                raise _unknown(stream_id)
            changed = change(_read(stream_id, found))
            verdict, _ = await self._put(stream_id, found.decode(), json_from_record(changed))
            if verdict == "ok":
                return changed
        raise StreamBusyError(
            f"stream {stream_id} is being changed by other requests all the time; try again", stream_id=stream_id
        )

    async def remove(self, stream_id: str) -> None:
        """Delete a stream; its owner stops it at its next heartbeat.

        Raises:
            UnknownStreamError: there is no such stream.
        """
        if not await self._store.run("remove", [stream_id]):
            raise _unknown(stream_id)

    async def retry(self, stream_id: str) -> None:
        """Restart a failed stream. A file continues after the last published frame.

        Raises:
            UnknownStreamError: there is no such stream.
            NotFailedError: it did not fail.
        """
        verdict = (await self._store.run("retry", [stream_id])).decode()
        if verdict == "gone":
            raise _unknown(stream_id)
        if verdict != "ok":
            raise NotFailedError(
                f"stream {stream_id} {'has ended' if verdict else 'is not finished'}; only failed ones can be retried",
                stream_id=stream_id,
            )

    async def status(self, stream_id: str, view: RegistryView) -> StreamStatus:
        """The status of one stream.

        Args:
            stream_id: the stream.
            view: current leases and workers, from `StreamLeases.look`.

        Raises:
            UnknownStreamError: there is no such stream.
            UnreadableRecordError: this version cannot read it.
        """
        if stream_id in view.unreadable:
            raise _unreadable(stream_id)
        record = view.records.get(stream_id)
        if record is None:
            raise _unknown(stream_id)
        return status_of(record, view=view, report=read_report(await self._store.field_of(REPORTS, stream_id)))

    async def statuses(self, view: RegistryView, stream_ids: Sequence[str] | None = None) -> list[StreamStatus]:
        """The status of streams of the view; None for all of them, by id. Unreadable ones are in `view.unreadable`."""
        names = self._ids_in(view) if stream_ids is None else stream_ids
        reports = await self._store.fields_of(REPORTS, names)
        return [
            status_of(view.records[name], view=view, report=read_report(text))
            for name, text in zip(names, reports, strict=True)
        ]

    async def page(
        self,
        view: RegistryView,
        *,
        limit: int,
        cursor: str = "",
        prefix: str = "",
        states: Collection[StreamState] = (),
        is_wanted: Callable[[StreamRecord], bool] | None = None,
    ) -> StreamPage:
        """Some streams by id; costs as much as the page, except with `is_wanted`, or states that are not final.

        Args:
            view: current leases and workers.
            limit: largest number of streams.
            cursor: only streams after this id.
            prefix: only streams whose ids start with this.
            states: only streams in one of these; none for any.
            is_wanted: which records to return; None for all.
        """
        ids = self._ids_in(view)
        ids = ids[bisect_left(ids, prefix) : bisect_left(ids, prefix + "\U0010ffff")]
        if is_wanted is not None:
            ids = [name for name in ids if is_wanted(view.records[name])]
        if states:
            final = {state for state in states if state.is_final}
            is_final_wanted = final == set(states)
            finished = view.finished
            ids = [name for name in ids if (finished[name] in final if name in finished else not is_final_wanted)]
            if not is_final_wanted:
                # Only an owner's report says more than that a stream is pending.
                owned = await self.statuses(view, [name for name in ids if name in view.leases])
                state_of = {status.record.stream_id: status.state for status in owned} | finished
                ids = [name for name in ids if state_of.get(name, StreamState.PENDING) in states]
        after = ids[bisect_right(ids, cursor) :]
        return StreamPage(await self.statuses(view, after[:limit]), num_matching=len(ids), has_more=len(after) > limit)

    def _ids_in(self, view: RegistryView) -> list[str]:
        """The ids of all streams, sorted; the same dictionary of records gives the same list."""
        if self._sorted[0] is not view.records:
            self._sorted = view.records, sorted(view.records)
        return self._sorted[1]

    async def _put(self, stream_id: str, expected: str, wanted: str, *, owner: str = "") -> tuple[str, str]:
        most = self._max_streams_per_owner
        owned = ("", 0) if most is None else (owner, most)
        verdict, found = await self._store.run("put", [stream_id, expected, wanted, self._max_streams, *owned])
        return verdict.decode(), found.decode(errors="replace")


def status_of(record: StreamRecord, *, view: RegistryView, report: StreamReport | None) -> StreamStatus:
    """The status of a stream, by its lease and its last report."""
    lease = view.owner_of(record.stream_id)
    final = view.finished.get(record.stream_id)
    if final is not None:
        return StreamStatus(record, final, report.detail if report else "", report, None)
    if lease is None:
        return StreamStatus(record, StreamState.PENDING, _why_pending(view, report), report, None)
    if report is None or report.epoch != lease.epoch:
        return StreamStatus(record, StreamState.CONNECTING, "its worker is opening the source", report, lease)
    return StreamStatus(record, report.state, report.detail, report, lease)


def _why_pending(view: RegistryView, report: StreamReport | None) -> str:
    takers = [worker for worker in view.workers.values() if not worker.is_draining]
    if not takers:
        return "no stream worker is running"
    if report is not None and report.state is StreamState.PENDING and report.detail:
        return f"a worker released it; it will be retried: {report.detail}"
    if all(worker.num_streams >= worker.max_streams for worker in takers):
        capacity = sum(worker.max_streams for worker in takers)
        return f"all {len(takers)} stream workers are full ({capacity} streams); add workers or delete streams"
    if report is None or report.state is StreamState.FAILED:
        return "a worker will take it shortly"
    return "its worker is gone; another one will take it over"


def _read(stream_id: str, text: str | bytes) -> StreamRecord:
    try:
        return record_from_json(text)
    except RecordError as exc:
        raise _unreadable(stream_id) from exc


def _unreadable(stream_id: str) -> UnreadableRecordError:
    return UnreadableRecordError(
        f"the record of stream {stream_id} cannot be read: it is damaged, or of a newer version of emostream; use that "
        "version, or delete the stream",
        record_id=stream_id,
    )


def _unknown(stream_id: str) -> UnknownStreamError:
    return UnknownStreamError(f"there is no stream {stream_id}", stream_id=stream_id)
