"""Leases and placement without a server: one clock, the real placement function, workers that die."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

from emostream.domain.stream import StreamKind, StreamSpec
from emostream.service.registry.placement import place
from emostream.service.registry.records import Lease, RegistryView, StreamRecord, WorkerEntry

HEARTBEAT_SECONDS = 0.5
LEASE_SECONDS = 5.0
CALL_SECONDS = 0.005  # between what a worker sees and when its claim arrives


def record_of(stream_id: str) -> StreamRecord:
    """A wanted stream."""
    return StreamRecord(StreamSpec(stream_id, "rtsp://camera", StreamKind.LIVE))


@dataclass(frozen=True, slots=True)
class IndexedView(RegistryView):
    """A view that knows the answers which the real one works out from all streams at each question.

    Attributes:
        unfinished: as `unfinished_ids`.
        free: as `free_ids`.
    """

    unfinished: list[str] = field(default_factory=list)
    free: set[str] = field(default_factory=set)

    def unfinished_ids(self) -> list[str]:
        """Nothing finishes here."""
        return self.unfinished

    def free_ids(self) -> list[str]:
        """In the order of their ids."""
        return sorted(self.free)


@dataclass
class SimulatedRegistry:
    """What the scripts keep, with their rules, in memory.

    Attributes:
        records: wanted streams.
        leases: stream id → valid lease.
        lease_ends: stream id → when its lease runs out, in ms.
        workers: worker id → how others see it.
        worker_expires: worker id → ms.
        counts: heartbeats, claims won and lost, streams given back, changes that heartbeats told of.
        free: streams without a valid lease.
    """

    records: dict[str, StreamRecord]
    leases: dict[str, Lease] = field(default_factory=dict)
    lease_ends: dict[str, int] = field(default_factory=dict)
    workers: dict[str, WorkerEntry] = field(default_factory=dict)
    worker_expires: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    free: set[str] = field(default_factory=set)
    _unfinished: list[str] = field(default_factory=list)
    _orphans: list[tuple[int, str]] = field(default_factory=list)
    _version: int = 0
    _changes: dict[str, int] = field(
        default_factory=dict
    )  # what changed → the version it changed in last, in its order
    _known: dict[str, int] = field(default_factory=dict)
    _epoch: int = 0

    def __post_init__(self) -> None:
        """Every stream is free at first."""
        self.free = set(self.records)
        self._unfinished = sorted(self.records)

    def forget_owner(self, stream_ids: list[str]) -> None:
        """Nobody renews these leases any more: they become free when they run out."""
        self._orphans += [(self.lease_ends[stream_id], stream_id) for stream_id in stream_ids]

    def heartbeat(self, worker_id: str, owned: list[str], *, cap: int, now_ms: int) -> RegistryView:
        """As `heartbeat.lua`."""
        expires_ms = now_ms + round(LEASE_SECONDS * 1000)
        for stream_id in owned:
            if self.leases[stream_id].worker_id == worker_id:
                self.lease_ends[stream_id] = expires_ms
        entry = WorkerEntry(worker_id, cap, len(owned))
        if self.workers.get(worker_id) != entry:
            self.workers[worker_id] = entry
            self._note(worker_id)
        self.worker_expires[worker_id] = expires_ms
        if min(self.worker_expires.values()) <= now_ms:
            for name in [name for name, at_ms in self.worker_expires.items() if at_ms <= now_ms]:
                del self.workers[name], self.worker_expires[name]
                self._note(name)
        self._expire(now_ms)
        self.counts["heartbeats"] += 1
        self.counts["changes_told"] += self._num_changes_since(self._known.get(worker_id, 0))
        self._known[worker_id] = self._version
        return IndexedView(
            now_ms,
            "generation",
            self.records,
            {},
            self.leases,
            self.workers,
            unfinished=self._unfinished,
            free=self.free,
        )

    def _note(self, name: str) -> None:
        self._version += 1
        self._changes.pop(name, None)
        self._changes[name] = self._version

    def _num_changes_since(self, version: int) -> int:
        number = 0
        for changed_in in reversed(self._changes.values()):
            if changed_in <= version:
                break
            number += 1
        return number

    def _expire(self, now_ms: int) -> None:
        if self._orphans and min(self._orphans)[0] <= now_ms:
            for stream_id in [stream_id for at_ms, stream_id in self._orphans if at_ms <= now_ms]:
                del self.leases[stream_id]
                self.free.add(stream_id)
                self._note(stream_id)
            self._orphans = [orphan for orphan in self._orphans if orphan[0] > now_ms]

    def claim(self, worker_id: str, stream_ids: tuple[str, ...], *, room: int, now_ms: int) -> list[str]:
        """As `claim.lua`: those that are free now, up to the cap."""
        won: list[str] = []
        for stream_id in stream_ids:
            if stream_id in self.free and len(won) < room:
                self._epoch += 1
                self.leases[stream_id] = Lease(worker_id, self._epoch)
                self.lease_ends[stream_id] = now_ms + round(LEASE_SECONDS * 1000)
                self.free.remove(stream_id)
                self._note(stream_id)
                won.append(stream_id)
        self.counts["claims_won"] += len(won)
        self.counts["claims_lost"] += len(stream_ids) - len(won)
        return won

    def release(self, stream_ids: tuple[str, ...]) -> None:
        """As `release.lua`."""
        for stream_id in stream_ids:
            del self.leases[stream_id]
            self.free.add(stream_id)
            self._note(stream_id)
        self.counts["given_back"] += len(stream_ids)


class SimulatedCluster:
    """Workers with a clock of their own; no time passes but that of the simulation.

    Args:
        num_streams: all of them wanted from the start.
        num_workers: alive at the start.
        cap: streams per worker.
        seed: of phases.
    """

    def __init__(self, *, num_streams: int, num_workers: int, cap: int, seed: int = 0) -> None:
        self.registry = SimulatedRegistry({f"camera-{i:05d}": record_of(f"camera-{i:05d}") for i in range(num_streams)})
        self.owned: dict[str, list[str]] = {}
        self.now_seconds = 0.0
        self._dead: set[str] = set()
        self._num_placed = 0
        self._cap = cap
        self._random = random.Random(seed)
        self._due: list[tuple[float, int, str, tuple[str, ...] | None]] = []
        self._number = 0
        self.add_workers(num_workers)

    def add_workers(self, number: int) -> None:
        """Workers that start within one heartbeat."""
        for _ in range(number):
            name = f"worker-{len(self.owned):05d}"
            self.owned[name] = []
            self._at(self.now_seconds + self._random.uniform(0, HEARTBEAT_SECONDS), name, None)

    def kill(self, number: int) -> int:
        """Workers that stop without a word; returns how many streams lose their owner."""
        dead = self._random.sample(sorted(self._living()), number)
        orphans = sum(len(self.owned[name]) for name in dead)
        for name in dead:
            self.registry.forget_owner(self.owned[name])
            self.owned[name] = []
            self._dead.add(name)
        self._num_placed -= orphans
        return orphans

    def run_until_placed(self, *, max_seconds: float) -> float:
        """Simulated seconds until every stream has an owner that lives; errors as in `run_until_settled`."""
        started = self.now_seconds
        while self.now_seconds - started < max_seconds:
            self._step()
            if self._num_placed == len(self.registry.records):
                return self.now_seconds - started
        raise AssertionError(f"not placed after {max_seconds} simulated seconds: {self._num_placed} placed")

    def run_until_settled(self, *, max_seconds: float) -> tuple[float, float]:
        """Simulated seconds until every stream has an owner that lives, and until nothing moves any more.

        Raises:
            AssertionError: it did not come to rest in time.
        """
        started, moved_at, num_moves = self.now_seconds, self.now_seconds, -1
        placed_at: float | None = None
        while self.now_seconds - started < max_seconds:
            self._step()
            moves = self.registry.counts["claims_won"] + self.registry.counts["given_back"]
            if moves != num_moves:
                num_moves, moved_at = moves, self.now_seconds
            if placed_at is None and self._num_placed == len(self.registry.records):
                placed_at = self.now_seconds
            if placed_at is not None and self.now_seconds - moved_at > 2 * HEARTBEAT_SECONDS:
                return placed_at - started, moved_at - started
        raise AssertionError(f"not settled after {max_seconds} simulated seconds: {self._num_placed} placed")

    def spread(self) -> tuple[int, int]:
        """Fewest and most streams of a living worker."""
        numbers = [len(self.owned[name]) for name in self._living()]
        return min(numbers), max(numbers)

    def _living(self) -> set[str]:
        return self.owned.keys() - self._dead

    def _at(self, seconds: float, name: str, claim: tuple[str, ...] | None) -> None:
        self._number += 1
        heapq.heappush(self._due, (seconds, self._number, name, claim))

    def _step(self) -> None:
        self.now_seconds, _, name, claim = heapq.heappop(self._due)
        if name in self._dead:
            return
        now_ms, owned = round(self.now_seconds * 1000), self.owned[name]
        if claim is not None:
            won = self.registry.claim(name, claim, room=self._cap - len(owned), now_ms=now_ms)
            owned += won
            self._num_placed += len(won)
            return
        view = self.registry.heartbeat(name, owned, cap=self._cap, now_ms=now_ms)
        placement = place(view, worker_id=name, owned=owned)
        self.registry.release(placement.give_back)
        self._num_placed -= len(placement.give_back)
        for stream_id in placement.give_back:
            owned.remove(stream_id)
        if placement.claim:
            self._at(self.now_seconds + CALL_SECONDS, name, placement.claim)
        self._at(self.now_seconds + HEARTBEAT_SECONDS, name, None)
