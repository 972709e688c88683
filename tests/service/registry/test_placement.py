"""Placement by simulation: workers that only look at the registry end up with an even spread and rest there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from emostream.domain.stream import StreamKind, StreamSpec
from emostream.service.registry.placement import Placement, fair_share, place
from emostream.service.registry.records import Lease, RegistryView, StreamRecord, WorkerEntry


class Cluster:
    """Workers that take their steps one after the other on a registry without a server."""

    def __init__(self, num_streams: int, caps: list[int]) -> None:
        self.records = {
            f"s{index}": StreamRecord(StreamSpec(f"s{index}", "rtsp://camera", StreamKind.LIVE))
            for index in range(num_streams)
        }
        self.owned: dict[str, list[str]] = {f"w{index}": [] for index in range(len(caps))}
        self.caps = {f"w{index}": cap for index, cap in enumerate(caps)}
        self.draining: set[str] = set()
        self.refusals: dict[str, set[str]] = {}

    def view(self) -> RegistryView:
        leases = {stream_id: Lease(worker_id, 1) for worker_id, owned in self.owned.items() for stream_id in owned}
        workers = {
            name: WorkerEntry(name, self.caps[name], len(owned), name in self.draining)
            for name, owned in self.owned.items()
        }
        return RegistryView(1, "g", self.records, {}, leases, workers)

    def step(self, name: str) -> Placement:
        placement = place(
            self.view(),
            worker_id=name,
            owned=self.owned[name],
            refusals=self.refusals,
            avoided=[stream_id for stream_id, judges in self.refusals.items() if name in judges],
        )
        self.owned[name] += placement.claim
        for stream_id in placement.give_back:
            self.owned[name].remove(stream_id)
        return placement

    def settle(self, *, max_rounds: int = 200) -> int:
        """Rounds until nobody moves any more."""
        for number in range(max_rounds):
            if not any(step.claim or step.give_back for step in [self.step(name) for name in list(self.owned)]):
                return number
        raise AssertionError("the workers never come to rest")

    def counts(self) -> list[int]:
        return [len(owned) for owned in self.owned.values()]


caps = st.lists(st.integers(0, 12), min_size=1, max_size=6)


@given(st.integers(0, 40), caps)
def test_all_that_fits_is_placed_evenly_and_within_caps(num_streams: int, caps: list[int]) -> None:
    cluster = Cluster(num_streams, caps)
    cluster.settle()
    assert sum(cluster.counts()) == min(num_streams, sum(caps))
    assert all(count <= cap for count, cap in zip(cluster.counts(), caps, strict=True))
    below_cap = [count for count, cap in zip(cluster.counts(), caps, strict=True) if count < cap]
    assert all(count <= min(below_cap) + 1 for count in cluster.counts() if below_cap)


@given(st.integers(0, 30), caps, st.integers(1, 12))
def test_a_new_worker_gets_its_part_and_nothing_moves_twice(num_streams: int, caps: list[int], cap: int) -> None:
    cluster = Cluster(num_streams, caps)
    cluster.settle()
    cluster.owned["new"], cluster.caps["new"] = [], cap
    placed = sum(cluster.counts())
    assert cluster.settle() <= num_streams + 2
    assert sum(cluster.counts()) == min(num_streams, sum(caps) + cap) >= placed


@given(st.integers(0, 20), caps, st.dictionaries(st.integers(0, 19), st.sets(st.integers(0, 5), max_size=5)))
def test_what_some_cannot_run_comes_to_rest_with_those_who_can(
    num_streams: int, caps: list[int], refusals: dict[int, set[int]]
) -> None:
    cluster = Cluster(num_streams, caps)
    cluster.refusals = {f"s{stream}": {f"w{worker}" for worker in judges} for stream, judges in refusals.items()}
    cluster.settle()
    owner_of = {stream_id: name for name, owned in cluster.owned.items() for stream_id in owned}
    for stream_id in cluster.records.keys() - owner_of.keys():
        able = cluster.owned.keys() - cluster.refusals.get(stream_id, set())
        assert all(len(cluster.owned[name]) >= cluster.caps[name] for name in able), "it waits though there is room"
    for stream_id, name in owner_of.items():
        assert name not in cluster.refusals.get(stream_id, set())


def test_a_stream_that_a_new_worker_refused_is_not_sent_to_it_again() -> None:
    cluster = Cluster(4, [8, 8])
    cluster.owned = {"w0": ["s0", "s1", "s2", "s3"], "w1": []}
    cluster.refusals = {f"s{number}": {"w1"} for number in range(4)}
    assert cluster.settle() == 0
    del cluster.refusals["s1"], cluster.refusals["s2"]
    cluster.settle()
    assert sorted(cluster.owned["w1"]) in (["s1"], ["s2"])


@given(st.integers(0, 30), caps)
def test_a_draining_worker_gives_back_everything(num_streams: int, caps: list[int]) -> None:
    cluster = Cluster(num_streams, caps)
    cluster.settle()
    cluster.draining.add("w0")
    cluster.settle()
    assert cluster.counts()[0] == 0
    assert sum(cluster.counts()) == min(num_streams, sum(caps[1:]))


@given(st.integers(0, 60), caps)
def test_shares_cover_all_that_fits(num_streams: int, caps: list[int]) -> None:
    workers = [WorkerEntry(f"w{index}", cap) for index, cap in enumerate(caps)]
    shares = [fair_share(num_streams, workers, worker_id=worker.worker_id) for worker in workers]
    assert sum(shares) >= min(num_streams, sum(caps))


def test_a_worker_that_the_registry_does_not_know_does_nothing() -> None:
    assert place(Cluster(3, [1]).view(), worker_id="stranger", owned=[]) == Placement()


def test_what_another_worker_has_just_claimed_counts() -> None:
    cluster = Cluster(3, [2, 2])
    cluster.owned = {"w0": ["s0", "s1"], "w1": ["s2"]}
    view = cluster.view()
    late = replace(view, workers={**view.workers, "w1": WorkerEntry("w1", 2, num_streams=0)})
    assert place(late, worker_id="w0", owned=["s0", "s1"]) == Placement(), "a stream would move for nothing"
