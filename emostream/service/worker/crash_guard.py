"""Finds streams whose video crashes the worker process, and stops opening them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from enum import Enum

from emostream.domain.stream import StreamState
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import HOSTS, OPENINGS, RegistryStore

MAX_DEATHS = 3
"""After this many workers died while they opened a stream, it is given up, if the stream is clearly the cause. At the
first death other streams may have been opening as well; after that it is opened alone."""

_MAX_SECONDS = 30.0  # a worker alive after this time was not killed by the stream; paused streams have no first frame

# A worker that dies every few seconds for other reasons (memory, a driver) must not seem to be killed by the streams it
# opens: it must have run for this long first.
_LIFE_SECONDS = 10.0
_LONG_LIFE_SECONDS = 60.0  # after `MAX_DEATHS`; doubled with each further death
_MAX_LIFE_SECONDS = 3600.0

_MAX_OTHERS = 2  # this many other suspected streams mean that the workers are the cause


class Opening(Enum):
    """What to do with a stream that is due."""

    NOW = "open it"
    LATER = "another suspected stream is opened first, or this one is suspected and must be opened alone"
    NEVER = "too many workers died while they opened it"


@dataclass(frozen=True, slots=True)
class _Note:
    """The note of an opening in Redis.

    Attributes:
        worker: the worker that opens the stream.
        host: its host.
        deaths: hosts of the workers that died while they opened it, oldest first.
    """

    worker: str
    host: str
    deaths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Begun:
    """A stream that this worker opens: number of deaths before, and when it started."""

    num_deaths: int
    at_seconds: float


class CrashGuard:
    """Guards the openings of one worker. They are noted in Redis, where the notes outlive the worker.

    A crash in a decoder ends the whole worker, and then the next one that takes the stream. So each opening is noted
    before it starts, until the first frame is decoded, the source is unavailable, or the stream ends. The note of a
    dead worker means that it died meanwhile, perhaps because of this stream, which is then opened while no other is.
    That clears streams that were only opening at the same time. A stream is given up when three workers died of it one
    after the other, unless the workers seem to be the cause: the stream has worked before, several streams are
    suspected, or another host has not tried it. Then it is opened again after increasing intervals.

    Args:
        store: connection to the registry; not closed.
        worker_id: this worker.
        host: this worker's host; None means this machine's name.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: RegistryStore,
        *,
        worker_id: str,
        host: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._host = host or socket.gethostname()
        self._is_host_known = False
        self._clock = clock
        self._begun: dict[str, _Begun] = {}
        self._suspected: dict[str, _Begun] = {}  # number of deaths, and since when this worker knows it

    async def begin(self, stream_id: str, *, living: Collection[str], has_worked: bool = False) -> Opening:
        """Note that a stream is about to be opened, if it may be opened now.

        Args:
            stream_id: the stream; this worker owns its lease.
            living: ids of all living workers.
            has_worked: whether a picture of it was processed before.

        Raises:
            RegistryUnavailableError: the registry is unavailable.
        """
        if not self._is_host_known:
            await self._store.put_field(HOSTS, self._worker_id, self._host)
            self._is_host_known = True
        deaths = _deaths(await self._store.field_of(OPENINGS, stream_id), living={*living, self._worker_id})
        if len(deaths) >= MAX_DEATHS and not has_worked and await self._is_its_fault(stream_id, deaths, living):
            await self._store.drop_field(OPENINGS, stream_id)
            return Opening.NEVER
        if self.pause_seconds(stream_id, num_deaths=len(deaths)) > 0:
            return Opening.LATER
        others = [begun for other, begun in self._begun.items() if other != stream_id]
        if any(begun.num_deaths for begun in others) or (deaths and others):
            return Opening.LATER
        note = _Note(self._worker_id, self._host, deaths)
        self._begun[stream_id] = _Begun(len(deaths), self._clock())  # before others that begin now look
        try:
            await self._store.put_field(OPENINGS, stream_id, json.dumps(asdict(note), separators=(",", ":")))
        except BaseException:
            del self._begun[stream_id]
            raise
        return Opening.NOW

    def pause_seconds(self, stream_id: str, *, num_deaths: int | None = None) -> float:
        """How long this worker must still run before it may open a suspected stream; 0 for all others."""
        suspected = self._suspected.get(stream_id)
        if num_deaths is not None and (suspected is None or suspected.num_deaths != num_deaths):
            suspected = self._suspected[stream_id] = _Begun(num_deaths, self._clock())
        if suspected is None or suspected.num_deaths < MAX_DEATHS - 1:
            self._suspected.pop(stream_id, None)
            return 0.0
        return max(0.0, suspected.at_seconds + _needed_seconds(suspected.num_deaths) - self._clock())

    async def settle(self, reports: Mapping[str, StreamReport]) -> None:
        """Remove the notes of streams that opened without a crash, or that no longer run here."""
        for stream_id, begun in list(self._begun.items()):
            if _is_open(reports.get(stream_id)) or self._clock() - begun.at_seconds > _MAX_SECONDS:
                await self.opened(stream_id)

    async def opened(self, stream_id: str) -> None:
        """A frame of the stream was decoded, so its opening is over: remove the note."""
        if self._begun.get(stream_id) is None:
            return
        found = _note_from(await self._store.field_of(OPENINGS, stream_id))
        # Another worker may be opening the stream now: keep its note.
        if found is not None and found.worker == self._worker_id:
            await self._store.drop_field(OPENINGS, stream_id)
        self._begun.pop(stream_id, None)
        self._suspected.pop(stream_id, None)

    async def close(self) -> None:
        """Remove all notes when this worker ends normally."""
        for stream_id in list(self._begun):
            await self.opened(stream_id)

    async def _is_its_fault(self, stream_id: str, deaths: tuple[str, ...], living: Collection[str]) -> bool:
        """Whether the stream, rather than the workers, is the cause of the deaths."""
        notes = await self._store.hash_of(OPENINGS)
        alive = {*living, self._worker_id}
        num_others = sum(
            len(_deaths(text, living=alive)) >= MAX_DEATHS - 1 for other, text in notes.items() if other != stream_id
        )
        if num_others >= _MAX_OTHERS:
            return False
        hosts = {host.decode() for name, host in (await self._store.hash_of(HOSTS)).items() if name in alive}
        return len(set(deaths)) >= 2 or hosts <= set(deaths)


def _needed_seconds(num_deaths: int) -> float:
    if num_deaths < MAX_DEATHS:
        return _LIFE_SECONDS
    return min(_MAX_LIFE_SECONDS, _LONG_LIFE_SECONDS * 2.0 ** min(num_deaths - MAX_DEATHS, 10))


def _note_from(text: bytes | None) -> _Note | None:
    """Parse a note; None when it is absent or unreadable."""
    try:
        said = json.loads(text or b"null")
        return _Note(str(said["worker"]), str(said["host"]), tuple(map(str, said["deaths"])))
    except (ValueError, TypeError, KeyError):
        return None


def _deaths(text: bytes | None, *, living: Collection[str]) -> tuple[str, ...]:
    """Hosts of the workers that died while they opened the stream, according to its note."""
    note = _note_from(text)
    if note is None:
        return ()
    return note.deaths if note.worker in living else (*note.deaths, note.host)


def _is_open(report: StreamReport | None) -> bool:
    """Whether the opening is over: frames were decoded, or the stream ended or waits."""
    is_opening = report is not None and report.state in (StreamState.CONNECTING, StreamState.RUNNING)
    return not is_opening or (report is not None and report.num_frames > 0)
