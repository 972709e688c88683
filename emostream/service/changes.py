"""Pure: what the registry says changed → the registry as it is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from emostream.errors import EventRejectedError
from emostream.service.record import Lease, RegistryView, StreamRecord, WorkerEntry, record_from_json
from emostream.stream import StreamState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Changes:
    """One answer of the registry.

    Attributes:
        now_ms: the server's clock.
        generation: changes when the server lost its data.
        version: to be named at the next question.
        is_all: whether this is everything there is; otherwise what is not named is as it was.
        records, finished, leases, workers: by id; None is what is not there any more.
        unreadable: texts of records that this version cannot read, by id; None for all other records.
        lost: streams that the asking worker does not own any more.
        previews: channels of the previews that somebody looks at.
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
        """As `heartbeat.lua` answers. Each thing is read for itself: one that was written by another version, or is
        damaged, stands in the way of no other."""
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

    def after(self, view: RegistryView) -> RegistryView:
        """The registry now; `view` is how it was at the version that was named, and stays as it is."""
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
            # Of a stream that is not wanted any more nothing else is told.
            finished=_changed(view.finished, {**gone, **self.finished}),
            leases=_changed(view.leases, {**gone, **self.leases}),
            workers=_changed(view.workers, self.workers),
            previews=self.previews,
        )


def _changed(before: dict[str, T], changes: Mapping[str, T | None]) -> dict[str, T]:
    """A new dictionary, or the same when nothing changed."""
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
    """A record, or its text where it cannot be read; None when there is none any more."""
    if not text:
        return None
    try:
        return record_from_json(text)
    except EventRejectedError:
        return text


def _state(text: str) -> StreamState | None:
    """A final state; one that only newer versions know is an end as well."""
    if not text:
        return None
    try:
        return StreamState(text)
    except ValueError:
        return StreamState.ENDED


def _lease(text: str) -> Lease | None:
    """An owner is one, whatever else is said of it."""
    if not text:
        return None
    worker_id, _, rest = text.partition(" ")
    epoch = rest.partition(" ")[0]
    return Lease(worker_id, int(epoch) if epoch.isdecimal() else 0)


def _worker(worker_id: str, text: str) -> WorkerEntry | None:
    """Newer workers may say more of themselves; of one that says nothing that can be read, nothing is known."""
    said = text.split(" ")[:3]
    if len(said) < 3 or not all(word.isdecimal() for word in said):
        return None
    return WorkerEntry(worker_id, int(said[0]), int(said[1]), said[2] == "1")
