"""Verdicts of workers about streams that they could not run, and when these make a stream fail.

Another worker may have the mount, the settings or the GPU, so a stream fails only when it cannot run anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from enum import StrEnum

from emostream.domain.stream import StreamKind
from emostream.errors import Cause, DecodeError, EmostreamError, SourceNotHereError
from emostream.service.registry.records import WorkerEntry
from emostream.service.registry.store import VERDICTS, RegistryStore

Judges = Mapping[str, "Verdict"]
"""Worker id → its verdict on one stream."""


class Verdict(StrEnum):
    """Why a worker could not run a stream."""

    REFUSED = "refused"
    """The source cannot be opened: a wrong login, no video, no decoder."""
    DAMAGED = "damaged"
    """The source was open here, and then it could not be read any further."""
    GONE = "gone"
    """The file is missing while others of its folder exist."""
    FORBIDDEN = "forbidden"
    """The settings of this worker do not allow it."""
    NOT_HERE = "not-here"
    """This worker cannot reach it: a mount, a device, a name or a permission is missing."""
    DEFECT = "defect"
    """A bug in this program."""


_OF_THE_SOURCE = (Verdict.REFUSED, Verdict.DAMAGED)


def verdict_of(exc: Exception) -> Verdict | None:
    """The verdict that an error implies; None when it concerns only the worker, or is temporary."""
    if isinstance(exc, SourceNotHereError):
        if exc.is_gone:
            return Verdict.GONE
        return Verdict.FORBIDDEN if exc.is_forbidden else Verdict.NOT_HERE
    if isinstance(exc, DecodeError):
        return Verdict.DAMAGED
    if isinstance(exc, EmostreamError):
        return Verdict.REFUSED if exc.cause is Cause.SOURCE else None
    return None if isinstance(exc, OSError | MemoryError) else Verdict.DEFECT


def are_final(
    judges: Judges, *, worker_id: str, workers: Collection[WorkerEntry], kind: StreamKind, has_worked: bool
) -> bool:
    """Whether the stream fails, after this worker's verdict.

    - A live source that has worked before is always retried.
    - An error of the source counts when two workers report it, or no other worker is running. Others that are full now
      will be asked when they have room.
    - A file that was open before is retried by workers that cannot open it: something else has changed since then. It
      fails when two workers opened it and could not read it any further.
    - A file is gone when no living worker has it.
    - Forbidden by settings, or a bug, is final when all living workers, at least two, report it.
    - Not reachable from a worker is never final: mounts and names may come back.

    Args:
        judges: all verdicts on this stream, including this worker's.
        worker_id: this worker.
        workers: the living workers.
        kind: of the stream.
        has_worked: whether it was open before, here or elsewhere.
    """
    if kind is StreamKind.LIVE and has_worked:
        return False
    takers = [worker for worker in workers if not worker.is_draining and worker.worker_id != worker_id]
    mine = judges[worker_id]
    if mine is Verdict.DAMAGED or (mine is Verdict.REFUSED and not has_worked):
        return not takers or sum(verdict in _OF_THE_SOURCE for verdict in judges.values()) >= 2
    said = [judges.get(worker.worker_id) for worker in takers] + [mine]
    if mine is Verdict.GONE and all(verdict in (Verdict.GONE, *_OF_THE_SOURCE) for verdict in said):
        return True
    is_certain = all(verdict is not None and verdict is not Verdict.NOT_HERE for verdict in said)
    return is_certain and not has_worked and len(said) >= 2


class Verdicts:
    """The verdicts of all workers in Redis; deleted with the stream's record.

    Args:
        store: connection to the registry; not closed.
        worker_id: this worker.
    """

    def __init__(self, store: RegistryStore, *, worker_id: str) -> None:
        self._store = store
        self._worker_id = worker_id

    async def add(self, stream_id: str, verdict: Verdict, *, epoch: int) -> Judges:
        """Store this worker's verdict on a stream that it owns. Returns all verdicts on the stream.

        Raises:
            RegistryUnavailableError: the registry is unavailable.
        """
        reply = await self._store.run("judge", [self._worker_id, stream_id, epoch, verdict.value])
        return {**_judges(reply), self._worker_id: verdict}

    async def withdraw(self, stream_id: str, *, epoch: int) -> None:
        """Withdraw the verdict, because the stream runs here after all; errors as in `add`."""
        await self._store.run("judge", [self._worker_id, stream_id, epoch, ""])

    async def all(self) -> dict[str, Judges]:
        """All verdicts by stream; errors as in `add`."""
        return {stream_id: _judges(text) for stream_id, text in (await self._store.hash_of(VERDICTS)).items()}


def _judges(text: bytes) -> Judges:
    """Parse verdicts; unknown ones of newer versions count as `NOT_HERE`."""
    try:
        said = json.loads(text) if text else {}
        known = set(Verdict)
        return {str(name): Verdict(word) if word in known else Verdict.NOT_HERE for name, word in said.items()}
    except (ValueError, AttributeError):
        return {}
