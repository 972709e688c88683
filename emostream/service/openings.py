"""Streams that end the process that opens them: found out one by one, and given up at last (decision D10)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from emostream.service.record import StreamReport
from emostream.service.store import OPENINGS, RegistryStore
from emostream.stream import StreamState

MAX_DEATHS = 3
"""A stream during whose opening so many workers died is not opened again. The first time others may have been opened
beside it; from then on it was alone."""


_MAX_SECONDS = 30.0  # a worker that lives after so long was not ended by it; paused streams show no pictures


class Opening(Enum):
    """What is to be done with a stream that is due."""

    NOW = "open it"
    LATER = "a stream that may end this process is opened first, or this is one and must be opened alone"
    NEVER = "it was opened too often by workers that died meanwhile"


@dataclass(frozen=True, slots=True)
class _Note:
    num_deaths: int  # of workers, before
    begun_seconds: float


class Openings:
    """The openings of one worker. What they are is noted in Redis, where the death of the worker leaves it.

    A crash in a decoder ends the whole worker, and the next one that takes the stream. So each opening is noted before
    it begins, until pictures come, or the source is away, or the stream ends. A note of a worker that is gone means
    that it died meanwhile, perhaps of this stream: it is opened again while nothing else is. Streams that only happened
    to be opened at the same time are cleared by that.

    Args:
        store: connection to the registry; not closed here.
        worker_id: whose openings.
        clock: monotonic seconds.
    """

    def __init__(self, store: RegistryStore, *, worker_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._worker_id = worker_id
        self._clock = clock
        self._noted: dict[str, _Note] = {}

    async def begin(self, stream_id: str, *, living: Collection[str]) -> Opening:
        """Note that a stream is about to be opened, if it may be now.

        Args:
            stream_id: which; this worker has its lease.
            living: ids of all workers that live.

        Raises:
            SinkUnavailableError: the registry is away.
        """
        found = await self._store.field_of(OPENINGS, stream_id)
        num_deaths = _num_deaths(found, living={*living, self._worker_id})
        if num_deaths >= MAX_DEATHS:
            await self._store.drop_field(OPENINGS, stream_id)
            return Opening.NEVER
        others = [note for other, note in self._noted.items() if other != stream_id]
        if any(note.num_deaths for note in others) or (num_deaths and others):
            return Opening.LATER
        await self._store.put_field(OPENINGS, stream_id, f"{self._worker_id} {num_deaths}")
        self._noted[stream_id] = _Note(num_deaths, self._clock())
        return Opening.NOW

    async def settle(self, reports: Mapping[str, StreamReport]) -> None:
        """Take away the notes of streams that were opened without harm, and of those that are not here any more."""
        for stream_id, note in list(self._noted.items()):
            if _is_open(reports.get(stream_id)) or self._clock() - note.begun_seconds > _MAX_SECONDS:
                await self._forget(stream_id)

    async def close(self) -> None:
        """Take away all notes: this worker ends in order."""
        for stream_id in list(self._noted):
            await self._forget(stream_id)

    async def _forget(self, stream_id: str) -> None:
        found = await self._store.field_of(OPENINGS, stream_id)
        # Another worker may open the stream meanwhile: its note stays.
        if found is not None and found.decode().startswith(f"{self._worker_id} "):
            await self._store.drop_field(OPENINGS, stream_id)
        del self._noted[stream_id]


def _num_deaths(note: bytes | None, *, living: Collection[str]) -> int:
    """Workers that died while they opened a stream, according to its note (`worker deaths`)."""
    if note is None:
        return 0
    worker_id, _, num_deaths = note.decode().rpartition(" ")
    return int(num_deaths) + (worker_id not in living)


def _is_open(report: StreamReport | None) -> bool:
    """Whether pictures came out of the decoder; also when the stream ended or waits without them."""
    is_opening = report is not None and report.state in (StreamState.CONNECTING, StreamState.RUNNING)
    return not is_opening or (report is not None and report.num_frames > 0)
