"""Pure: what the registry says changed → the registry as it is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

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
        lost: streams that the asking worker does not own any more.
        previews: channels of the previews that somebody looks at.
    """

    now_ms: int
    generation: str
    version: int
    is_all: bool
    records: Mapping[str, StreamRecord | None]
    finished: Mapping[str, StreamState | None]
    leases: Mapping[str, Lease | None]
    workers: Mapping[str, WorkerEntry | None]
    lost: tuple[str, ...]
    previews: frozenset[str]

    @classmethod
    def from_reply(cls, reply: Sequence[Any]) -> Self:
        """As `heartbeat.lua` answers.

        Raises:
            EventRejectedError: a record was written by another version.
        """
        now_ms, generation, version, is_all, records, states, workers, lost, looked_at = reply
        ids = [name.decode() for name in states[::3]]
        return cls(
            now_ms=int(now_ms),
            generation=generation.decode(),
            version=int(version),
            is_all=bool(is_all),
            records=_parsed(records, lambda _, text: record_from_json(text)),
            finished={
                name: StreamState(text.decode()) if text else None for name, text in zip(ids, states[1::3], strict=True)
            },
            leases={name: _lease(text.decode()) for name, text in zip(ids, states[2::3], strict=True)},
            workers=_parsed(workers, _worker),
            lost=tuple(stream_id.decode() for stream_id in lost),
            previews=frozenset(name.decode() for name in looked_at),
        )

    def after(self, view: RegistryView) -> RegistryView:
        """The registry now; `view` is how it was at the version that was named, and stays as it is."""
        if self.is_all:
            view = RegistryView(0, "")
        gone = {stream_id: None for stream_id, record in self.records.items() if record is None}
        return replace(
            view,
            now_ms=self.now_ms,
            generation=self.generation,
            records=_changed(view.records, self.records),
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


def _parsed(flat: Sequence[bytes], parse: Callable[[str, str], T]) -> dict[str, T | None]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    texts = {name.decode(): text.decode() for name, text in pairs}
    return {name: parse(name, text) if text else None for name, text in texts.items()}


def _lease(text: str) -> Lease | None:
    if not text:
        return None
    worker_id, epoch = text.split(" ")
    return Lease(worker_id, int(epoch))


def _worker(worker_id: str, text: str) -> WorkerEntry:
    max_streams, num_streams, is_draining = text.split(" ")
    return WorkerEntry(worker_id, int(max_streams), int(num_streams), is_draining == "1")
