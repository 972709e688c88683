"""Streams that end the process that opens them: found out one by one, and given up at last (decision D10)."""

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
"""A stream during whose opening so many workers died is not opened again, when it is plain that it was the stream. The
first time others may have been opened beside it; from then on it was alone."""

_MAX_SECONDS = 30.0  # a worker that lives after so long was not ended by it; paused streams show no pictures

# A worker that dies every few seconds for reasons of its own (memory, a driver) must not seem to die of what it opens:
# it has to live for so long first, beside the streams that run.
_LIFE_SECONDS = 10.0
_LONG_LIFE_SECONDS = 60.0  # after `MAX_DEATHS`; doubled with each death after that
_MAX_LIFE_SECONDS = 3600.0

_MAX_OTHERS = 2  # so many other streams that workers die of: then it is the workers


class Opening(Enum):
    """What is to be done with a stream that is due."""

    NOW = "open it"
    LATER = "a stream that may end this process is opened first, or this is one and must be opened alone"
    NEVER = "it was opened too often by workers that died meanwhile"


@dataclass(frozen=True, slots=True)
class _Note:
    """In Redis.

    Attributes:
        worker: who opens the stream.
        host: where.
        deaths: hosts of the workers that died before while they opened it, the oldest first.
    """

    worker: str
    host: str
    deaths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Begun:
    """Of this worker."""

    num_deaths: int
    at_seconds: float


class CrashGuard:
    """The openings of one worker. What they are is noted in Redis, where the death of the worker leaves it.

    A crash in a decoder ends the whole worker, and the next one that takes the stream. So each opening is noted before
    it begins, until the first picture is decoded, or the source is away, or the stream ends. A note of a worker that is
    gone means that it died meanwhile, perhaps of this stream: it is opened again while nothing else is. Streams that
    only happened to be opened at the same time are cleared by that. A stream is given up when three workers died of it
    one by one, unless something says that it was the workers: it has worked before, several streams are suspected, or
    another host has not tried it. Then it is opened again, after longer and longer times.

    Args:
        store: connection to the registry; not closed here.
        worker_id: whose openings.
        host: where this worker is.
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
        self._suspected: dict[str, _Begun] = {}  # since when this worker knows of how many deaths

    async def begin(self, stream_id: str, *, living: Collection[str], has_worked: bool = False) -> Opening:
        """Note that a stream is about to be opened, if it may be now.

        Args:
            stream_id: which; this worker has its lease.
            living: ids of all workers that live.
            has_worked: it was open before, so it can be opened.

        Raises:
            RegistryUnavailableError: the registry is away.
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
        await self._store.put_field(OPENINGS, stream_id, json.dumps(asdict(note), separators=(",", ":")))
        self._begun[stream_id] = _Begun(len(deaths), self._clock())
        return Opening.NOW

    def pause_seconds(self, stream_id: str, *, num_deaths: int | None = None) -> float:
        """How long this worker still has to live before it opens a stream of which workers died; 0 for all others."""
        suspected = self._suspected.get(stream_id)
        if num_deaths is not None and (suspected is None or suspected.num_deaths != num_deaths):
            suspected = self._suspected[stream_id] = _Begun(num_deaths, self._clock())
        if suspected is None or suspected.num_deaths < MAX_DEATHS - 1:
            self._suspected.pop(stream_id, None)
            return 0.0
        return max(0.0, suspected.at_seconds + _needed_seconds(suspected.num_deaths) - self._clock())

    async def settle(self, reports: Mapping[str, StreamReport]) -> None:
        """Take away the notes of streams that were opened without harm, and of those that are not here any more."""
        for stream_id, begun in list(self._begun.items()):
            if _is_open(reports.get(stream_id)) or self._clock() - begun.at_seconds > _MAX_SECONDS:
                await self.opened(stream_id)

    async def opened(self, stream_id: str) -> None:
        """A picture of it was decoded: what happens from now on is no matter of its opening."""
        if self._begun.get(stream_id) is None:
            return
        found = _note_from(await self._store.field_of(OPENINGS, stream_id))
        # Another worker may open the stream meanwhile: its note stays.
        if found is not None and found.worker == self._worker_id:
            await self._store.drop_field(OPENINGS, stream_id)
        self._begun.pop(stream_id, None)
        self._suspected.pop(stream_id, None)

    async def close(self) -> None:
        """Take away all notes: this worker ends in order."""
        for stream_id in list(self._begun):
            await self.opened(stream_id)

    async def _is_its_fault(self, stream_id: str, deaths: tuple[str, ...], living: Collection[str]) -> bool:
        """Whether workers died of this stream, as opposed to something of their own."""
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
    """A note, as far as this version can read it."""
    try:
        said = json.loads(text or b"null")
        return _Note(str(said["worker"]), str(said["host"]), tuple(map(str, said["deaths"])))
    except (ValueError, TypeError, KeyError):
        return None


def _deaths(text: bytes | None, *, living: Collection[str]) -> tuple[str, ...]:
    """Hosts of the workers that died while they opened a stream, according to its note."""
    note = _note_from(text)
    if note is None:
        return ()
    return note.deaths if note.worker in living else (*note.deaths, note.host)


def _is_open(report: StreamReport | None) -> bool:
    """Whether pictures came out of the decoder; also when the stream ended or waits without them."""
    is_opening = report is not None and report.state in (StreamState.CONNECTING, StreamState.RUNNING)
    return not is_opening or (report is not None and report.num_frames > 0)
