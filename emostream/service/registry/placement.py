"""Decides which streams a worker claims and which it releases.

There is no coordinator: every worker decides from the same view. The target of a worker is its fair share: streams are
distributed evenly over the living workers, limited by each worker's maximum (water-filling). A worker claims free
streams up to its share and releases those above it. Below its share it releases one at a time, and only to even out a
difference of two or more, so that streams do not oscillate.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from emostream.service.registry.records import RegistryView, WorkerEntry

_FREE_FOR_LIVE = 4  # one of this many places


@dataclass(frozen=True, slots=True)
class Placement:
    """The next actions of a worker.

    Attributes:
        claim: stream ids to claim, in order of preference.
        give_back: stream ids to release.
    """

    claim: tuple[str, ...] = ()
    give_back: tuple[str, ...] = ()


def place(
    view: RegistryView,
    *,
    worker_id: str,
    owned: Sequence[str],
    refusals: Mapping[str, Collection[str]] = MappingProxyType({}),
    avoided: Collection[str] = (),
) -> Placement:
    """Compute the next actions of one worker.

    Streams that a living worker cannot run are not part of fair shares: any other worker with capacity takes them.

    Args:
        view: the registry; must contain the worker.
        worker_id: the worker.
        owned: its streams, oldest first.
        refusals: stream id → workers that reported that they cannot run it.
        avoided: streams that this worker leaves to others for a while.
    """
    me = view.workers.get(worker_id)
    if me is None:
        return Placement()
    if me.is_draining:
        return Placement(give_back=tuple(owned))
    takers = [worker for worker in view.workers.values() if not worker.is_draining]
    bound = _bound(view, takers, worker_id=worker_id, refusals=refusals)
    if bound:
        takers = _without(bound, takers, view=view)
    movable = [stream_id for stream_id in owned if stream_id not in bound]
    room = fair_share(len(set(view.unfinished_ids()) - bound), takers, worker_id=worker_id) - len(movable)
    if room < 0:
        return Placement(give_back=tuple(movable[room:]))
    free = sorted(set(view.free_ids()) - set(owned) - set(avoided), key=lambda stream_id: _rank(worker_id, stream_id))
    shared = [stream_id for stream_id in free if stream_id not in bound]
    # While streams are free, others may not have taken their shares yet, so the numbers are not comparable.
    if not free and movable and len(movable) - _fewest_of_others(view, takers, worker_id=worker_id, bound=bound) >= 2:
        return Placement(give_back=(movable[-1],))
    claim = [stream_id for stream_id in free if stream_id in bound] + shared[:room]
    return Placement(claim=tuple(claim[: max(0, me.max_streams - len(owned))]))


def _bound(
    view: RegistryView,
    takers: Sequence[WorkerEntry],
    *,
    worker_id: str,
    refusals: Mapping[str, Collection[str]],
) -> set[str]:
    """Streams that some other worker cannot run."""
    others = {worker.worker_id for worker in takers} - {worker_id}
    return {
        stream_id
        for stream_id, judges in refusals.items()
        if stream_id in view.records and stream_id not in view.finished and not others.isdisjoint(judges)
    }


def _without(bound: Collection[str], takers: Sequence[WorkerEntry], *, view: RegistryView) -> list[WorkerEntry]:
    """The workers with the capacity that their bound streams leave."""
    held = Counter(lease.worker_id for stream_id, lease in view.leases.items() if stream_id in bound)
    return [replace(worker, max_streams=max(0, worker.max_streams - held[worker.worker_id])) for worker in takers]


def files_capacity(view: RegistryView) -> int:
    """Largest number of unfinished streams up to which jobs add files: a quarter is reserved for live streams."""
    capacity = sum(worker.max_streams for worker in view.workers.values() if not worker.is_draining)
    return capacity - capacity // _FREE_FOR_LIVE


def fair_share(num_streams: int, workers: Sequence[WorkerEntry], *, worker_id: str) -> int:
    """Largest number of streams that a worker should have; the shares of all workers cover all streams that fit.

    >>> workers = [WorkerEntry("a", max_streams=8), WorkerEntry("b", max_streams=2), WorkerEntry("c", max_streams=8)]
    >>> [fair_share(10, workers, worker_id=name) for name in "abc"]
    [4, 2, 4]
    """
    level = _water_level(num_streams, tuple(worker.max_streams for worker in workers))
    caps = {worker.worker_id: worker.max_streams for worker in workers}
    return min(level, caps.get(worker_id, 0))


@lru_cache(maxsize=16)  # called at every heartbeat, mostly with the same arguments
def _water_level(num_streams: int, caps: tuple[int, ...]) -> int:
    """The smallest level at which workers, filled up to it or to their maximum, hold all streams (or all are full)."""
    low, high = 0, max(caps, default=0)
    while low < high:
        middle = (low + high) // 2
        if sum(min(cap, middle) for cap in caps) >= num_streams:
            high = middle
        else:
            low = middle + 1
    return low


def _fewest_of_others(
    view: RegistryView, takers: Sequence[WorkerEntry], *, worker_id: str, bound: Collection[str]
) -> float:
    """Movable streams of the emptiest other worker with capacity; infinite when none has capacity.

    Counts leases, because the number in a worker's entry is as old as its last heartbeat.
    """
    held = Counter(lease.worker_id for stream_id, lease in view.leases.items() if stream_id not in bound)
    others = [worker for worker in takers if worker.worker_id != worker_id]
    return min(
        (held[other.worker_id] for other in others if held[other.worker_id] < other.max_streams), default=math.inf
    )


def _rank(worker_id: str, stream_id: str) -> bytes:
    """Sorts streams differently for each worker, so that two workers rarely claim the same one first."""
    return hashlib.blake2b(f"{worker_id}\0{stream_id}".encode(), digest_size=8).digest()


class RebalanceDelay:
    """Waits for the workers that were alive before the registry was unavailable.

    Meanwhile leases could not be renewed, so the first worker that reaches the registry again sees the streams of all
    others as free, although they run. Each worker renews its leases with its next heartbeat; until then, or until the
    duration of a lease has passed, free streams are not claimed.

    >>> returning = RebalanceDelay(lease_seconds=5.0)
    >>> returning.note({"a", "b"}, was_away=False, now_seconds=0.0)
    >>> returning.note({"a"}, was_away=True, now_seconds=60.0)
    >>> returning.are_awaited
    True
    >>> returning.note({"a", "b"}, was_away=False, now_seconds=60.5)
    >>> returning.are_awaited
    False
    """

    def __init__(self, *, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._known: frozenset[str] = frozenset()
        self._awaited: frozenset[str] = frozenset()
        self._until_seconds = 0.0

    @property
    def are_awaited(self) -> bool:
        """Whether free streams may still belong to a worker that has not renewed its leases yet."""
        return bool(self._awaited)

    def note(self, living: Collection[str], *, was_away: bool, now_seconds: float) -> None:
        """Record a heartbeat.

        Args:
            living: ids of the living workers, according to it.
            was_away: whether it is the first successful one after the registry was unavailable.
            now_seconds: monotonic time.
        """
        if was_away:
            self._awaited |= self._known
            self._until_seconds = now_seconds + self._lease_seconds
        self._awaited = frozenset() if now_seconds >= self._until_seconds else self._awaited - frozenset(living)
        self._known = frozenset(living)
