"""Do leases and placement hold with 10,000 streams when nodes die, and what do they cost the registry?

    python -m tests.benchmarks.placement [--streams 10000] [--real-streams 200]

Two parts. The simulation has one clock and the real placement function (`emostream/service/registry/placement.py`):
workers beat in turn, each at its own phase; what they claim is decided later than what they saw, by the time a call
takes; whole nodes die and new ones come. The second part is smaller and has the real scripts on a real server, with
workers as asyncio tasks.

Prints JSON: seconds (simulated, or real) until all streams have an owner and until nothing moves any more, claims won
and lost, streams given back, the traffic of heartbeats (how many, and of how many changes they told), and the balance
at rest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from emostream.cli.bench.machine import describe_machine
from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.placement import place
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.benchmarks.simulated_cluster import SimulatedCluster, record_of


def simulate(*, num_streams: int, cap: int, workers_per_node: int, nodes_lost: int) -> dict[str, Any]:
    """Start, lose nodes, get new ones; figures of each."""
    num_workers = round(1.1 * num_streams / cap)  # a tenth more than needed, so that some may die
    cluster = SimulatedCluster(num_streams=num_streams, num_workers=num_workers, cap=cap)
    phases: dict[str, dict[str, Any]] = {}

    def note(name: str, figures: dict[str, Any], before: Counter[str]) -> None:
        low, high = cluster.spread()
        counts = dict(cluster.registry.counts - before)
        phases[name] = figures | counts | {"fewest_streams": low, "most_streams": high}

    before = cluster.registry.counts.copy()
    note("start", {"placed_seconds": round(cluster.run_until_placed(max_seconds=120), 2)}, before)
    before, orphans = cluster.registry.counts.copy(), cluster.kill(nodes_lost * workers_per_node)
    placed = cluster.run_until_placed(max_seconds=120)
    note("nodes die", {"orphans": orphans, "placed_seconds": round(placed, 2)}, before)
    before = cluster.registry.counts.copy()
    cluster.add_workers(nodes_lost * workers_per_node)
    _, rested = cluster.run_until_settled(max_seconds=120)
    note("new nodes come", {"at_rest_seconds": round(rested, 2)}, before)
    return {"num_streams": num_streams, "num_workers": num_workers, "nodes_lost": nodes_lost, "phases": phases}


@dataclass
class RealWorker:
    """A worker without streams to run: heartbeats, placement and claims on a real registry.

    Attributes:
        leases: its own.
        held: stream id → epoch.
    """

    leases: StreamLeases
    worker_id: str
    held: dict[str, int] = field(default_factory=dict)

    async def run(self, *, heartbeat_seconds: float) -> None:
        """For ever."""
        while True:
            beat = await self.leases.heartbeat(self.held)
            for stream_id in beat.lost:
                del self.held[stream_id]
            placement = place(beat.view, worker_id=self.worker_id, owned=list(self.held))
            self.held |= await self.leases.claim(placement.claim)
            await self.leases.release({stream_id: self.held.pop(stream_id) for stream_id in placement.give_back})
            await asyncio.sleep(heartbeat_seconds)


async def run_real(*, num_streams: int, cap: int, share_killed: float, lease_seconds: float) -> dict[str, Any]:
    """The real scripts: place all streams, kill workers, see all streams owned again, each once."""
    num_workers = round(1.5 * num_streams / cap)
    with EmbeddedRedis() as server:
        async with RegistryStore(PublishSettings(), redis_url=server.url) as store:
            registry = StreamRegistry(store)
            for index in range(num_streams):
                await registry.create(record_of(f"camera-{index:05d}"))
            workers = [
                RealWorker(StreamLeases(store, worker_id=name, max_streams=cap, ttl_seconds=lease_seconds), name)
                for name in (f"worker-{index:05d}" for index in range(num_workers))
            ]
            tasks = [asyncio.create_task(worker.run(heartbeat_seconds=lease_seconds / 10)) for worker in workers]
            try:
                started = await _until_all_owned(workers, num_streams=num_streams)
                num_killed = round(share_killed * num_workers)
                for task in tasks[:num_killed]:
                    task.cancel()
                await asyncio.gather(*tasks[:num_killed], return_exceptions=True)
                orphans = sum(len(worker.held) for worker in workers[:num_killed])
                recovered = await _until_all_owned(workers[num_killed:], num_streams=num_streams)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    owners = Counter(stream_id for worker in workers[num_killed:] for stream_id in worker.held)
    return {
        "num_streams": num_streams,
        "num_workers": num_workers,
        "num_killed": num_killed,
        "orphans": orphans,
        "start_seconds": round(started, 2),
        "recovery_seconds": round(recovered, 2),
        "lease_seconds": lease_seconds,
        "most_owners_of_a_stream": max(owners.values()),
    }


async def _until_all_owned(workers: list[RealWorker], *, num_streams: int) -> float:
    started = time.monotonic()
    while sum(len(worker.held) for worker in workers) < num_streams:
        if time.monotonic() - started > 120:
            raise AssertionError("the streams did not all get an owner within two minutes")
        await asyncio.sleep(0.02)
    return time.monotonic() - started


def main() -> None:
    """Run both parts and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--cap", type=int, default=12)
    parser.add_argument("--nodes-lost", type=int, default=10)
    parser.add_argument("--workers-per-node", type=int, default=4)
    parser.add_argument("--real-streams", type=int, default=200)
    arguments = parser.parse_args()
    started = time.process_time()
    simulated = simulate(
        num_streams=arguments.streams,
        cap=arguments.cap,
        workers_per_node=arguments.workers_per_node,
        nodes_lost=arguments.nodes_lost,
    )
    took = time.process_time() - started
    real = asyncio.run(run_real(num_streams=arguments.real_streams, cap=8, share_killed=0.25, lease_seconds=2.0))
    result = {"simulated": simulated, "simulation_processor_seconds": round(took, 1), "real": real}
    print(json.dumps(result | {"machine": describe_machine()}, indent=2))


if __name__ == "__main__":
    main()
