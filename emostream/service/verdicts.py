"""What workers say of a stream that they could not run, and what follows for the service (decision D15).

One worker's verdict is its own: another may have the mount, the settings, the GPU. So a stream is failed only when it
is plain that it can run nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from enum import StrEnum

from emostream.domain.stream import StreamKind
from emostream.errors import Cause, EmostreamError, SourceNotHereError
from emostream.service.registry.records import WorkerEntry
from emostream.service.registry.store import VERDICTS, RegistryStore

Judges = Mapping[str, "Verdict"]
"""Worker id → what it said of one stream."""


class Verdict(StrEnum):
    """What one worker says of a stream that it gives back."""

    REFUSED = "refused"
    """The source itself: a wrong login, no video, no decoder."""
    GONE = "gone"
    """The file is missing among others of its folder."""
    FORBIDDEN = "forbidden"
    """The settings of this worker do not allow it."""
    NOT_HERE = "not-here"
    """This worker does not reach it: a mount, a device, a name or a right is missing."""
    DEFECT = "defect"
    """This program failed on it."""


def verdict_of(exc: Exception) -> Verdict | None:
    """What an error says of the stream; None when it says something of the worker only, or will pass."""
    if isinstance(exc, SourceNotHereError):
        if exc.is_gone:
            return Verdict.GONE
        return Verdict.FORBIDDEN if exc.is_forbidden else Verdict.NOT_HERE
    if isinstance(exc, EmostreamError):
        return Verdict.REFUSED if exc.cause is Cause.SOURCE else None
    return None if isinstance(exc, OSError | MemoryError) else Verdict.DEFECT


def are_final(
    judges: Judges, *, worker_id: str, workers: Collection[WorkerEntry], kind: StreamKind, has_worked: bool
) -> bool:
    """Whether a stream is failed, now that this worker gave its verdict.

    - A live source that has worked once comes back, whatever it says meanwhile.
    - What the source itself says is believed when two workers heard it, or when no other one has room to ask.
    - A file is gone when no worker that lives has it.
    - What settings forbid, or the program cannot do, is final when all workers that live say so, two at least.
    - What a worker does not reach is never final: mounts and names come back.

    Args:
        judges: all verdicts on this stream, with the one of this worker.
        worker_id: this worker.
        workers: those that live.
        kind: of the stream.
        has_worked: it was open once, here or elsewhere.
    """
    if kind is StreamKind.LIVE and has_worked:
        return False
    takers = [worker for worker in workers if not worker.is_draining and worker.worker_id != worker_id]
    mine = judges[worker_id]
    if mine is Verdict.REFUSED:
        num_agree = sum(verdict is Verdict.REFUSED for verdict in judges.values())
        return num_agree >= 2 or not any(worker.num_streams < worker.max_streams for worker in takers)
    said = [judges.get(worker.worker_id) for worker in takers] + [mine]
    if all(verdict in (Verdict.GONE, Verdict.REFUSED) for verdict in said):
        return True
    is_certain = all(verdict is not None and verdict is not Verdict.NOT_HERE for verdict in said)
    return is_certain and not has_worked and len(said) >= 2


class Verdicts:
    """The verdicts in Redis, of all workers; they are forgotten with the stream's record.

    Args:
        store: connection to the registry; not closed here.
        worker_id: whose.
    """

    def __init__(self, store: RegistryStore, *, worker_id: str) -> None:
        self._store = store
        self._worker_id = worker_id

    async def add(self, stream_id: str, verdict: Verdict, *, epoch: int) -> Judges:
        """Give this worker's verdict on a stream that it holds; all verdicts on it, this one among them.

        Raises:
            SinkUnavailableError: the registry is away.
        """
        reply = await self._store.run("judge", [self._worker_id, stream_id, epoch, verdict.value])
        return {**_judges(reply), self._worker_id: verdict}

    async def withdraw(self, stream_id: str, *, epoch: int) -> None:
        """It runs here after all; errors as in `add`."""
        await self._store.run("judge", [self._worker_id, stream_id, epoch, ""])

    async def all(self) -> dict[str, Judges]:
        """All verdicts, by stream; errors as in `add`."""
        return {stream_id: _judges(text) for stream_id, text in (await self._store.hash_of(VERDICTS)).items()}


def _judges(text: bytes) -> Judges:
    """Verdicts that this version does not know are those of a worker that cannot run the stream."""
    try:
        said = json.loads(text) if text else {}
        known = set(Verdict)
        return {str(name): Verdict(word) if word in known else Verdict.NOT_HERE for name, word in said.items()}
    except (ValueError, AttributeError):
        return {}
