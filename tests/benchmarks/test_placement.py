"""The simulation of placement, small enough for every run, and the real scripts beside it."""

from __future__ import annotations

import pytest

from emostream.service.registry.records import RegistryView
from tests.benchmarks.placement import run_real
from tests.benchmarks.simulated_cluster import LEASE_SECONDS, SimulatedCluster


def _cluster() -> SimulatedCluster:
    return SimulatedCluster(num_streams=60, num_workers=8, cap=10)


def test_all_streams_are_placed_evenly_and_come_to_rest() -> None:
    cluster = _cluster()
    placed, rested = cluster.run_until_settled(max_seconds=60)
    assert 0 < placed <= rested
    low, high = cluster.spread()
    assert high - low <= 1


def test_after_the_loss_of_workers_everything_is_owned_again_one_lease_later() -> None:
    cluster = _cluster()
    cluster.run_until_settled(max_seconds=60)
    assert cluster.kill(2) > 0
    placed, _ = cluster.run_until_settled(max_seconds=60)
    assert placed < LEASE_SECONDS + 2
    owners = [stream_id for owned in cluster.owned.values() for stream_id in owned]
    assert len(owners) == len(set(owners)) == 60


def test_too_few_workers_never_settle() -> None:
    cluster = SimulatedCluster(num_streams=30, num_workers=2, cap=10)
    with pytest.raises(AssertionError, match="20"):
        cluster.run_until_settled(max_seconds=10)


def test_the_quick_view_answers_as_the_real_one() -> None:
    cluster = _cluster()
    for _ in range(40):
        cluster._step()
    quick = cluster.registry.heartbeat("worker-00000", cluster.owned["worker-00000"], cap=10, now_ms=5_000)
    fields = (quick.now_ms, quick.generation, quick.records, quick.finished, quick.leases, quick.workers)
    real = RegistryView(*fields)
    assert quick.unfinished_ids() == real.unfinished_ids()
    assert quick.free_ids() == real.free_ids()


@pytest.mark.integration
@pytest.mark.slow
async def test_the_real_scripts_give_each_stream_one_owner_again() -> None:
    result = await run_real(num_streams=40, cap=8, share_killed=0.25, lease_seconds=2.0)
    assert result["orphans"] > 0
    assert result["most_owners_of_a_stream"] == 1
