"""Autoscaling of the worker replicas by the number of streams and their load."""

from __future__ import annotations

import math
from typing import Any

import ray
from ray.serve.config import AutoscalingContext

from emostream.config import ServiceSettings

# A worker is removed only when the others would be at most this full, so that one more stream does not add it again.
_SCALE_DOWN_FILL = 0.8

_FULL_SHARE = 0.95  # of the time of all cores


def wanted_workers(
    num_streams: int,
    *,
    max_streams_per_worker: int,
    num_workers: int,
    num_overloaded: int,
    min_workers: int,
    max_workers: int,
) -> int:
    """Compute the number of workers.

    Args:
        num_streams: streams that need a worker, including waiting ones.
        max_streams_per_worker: limit per worker.
        num_workers: current number of workers.
        num_overloaded: workers that drop frames although they could release a stream, where another would help.
        min_workers, max_workers: limits of the result.

    >>> wanted_workers(17, max_streams_per_worker=16, num_workers=1, num_overloaded=0, min_workers=1, max_workers=9)
    2
    """
    wanted = math.ceil(num_streams / max_streams_per_worker)
    if num_overloaded:
        wanted = max(wanted, num_workers + 1)
    elif wanted < num_workers:
        comfortable = math.ceil(num_streams / (max_streams_per_worker * _SCALE_DOWN_FILL))
        wanted = min(num_workers, max(wanted, comfortable))
    return min(max(wanted, min_workers), max_workers)


def has_room_for_worker(busy_share: float) -> bool:
    """Whether another worker would find CPU time in this cluster. Called in a worker that drops frames.

    On a cluster of one machine, whose cores are busy already, it would take the time of the other workers. Where Ray
    has no CPU left there, it waits for a machine that the cluster adds, and on several machines Ray decides by the CPUs
    that workers reserve (`num_cpus`).

    Args:
        busy_share: of the time of this machine's cores, 0 to 1.
    """
    if busy_share < _FULL_SHARE:
        return True
    cluster: Any = ray  # without types
    machines = [node for node in cluster.nodes() if node["Alive"]]
    needed = cluster.get_runtime_context().get_assigned_resources().get("CPU", 0.0)
    return len(machines) > 1 or bool(cluster.available_resources().get("CPU", 0.0) < needed)


class StreamWorkerPolicy:
    """Autoscaling policy for a Serve configuration (`policy_function`; `policy_kwargs` are its arguments).

    Args:
        max_streams_per_worker: as in the application's settings.
    """

    def __init__(
        self, max_streams_per_worker: int = ServiceSettings.model_fields["max_streams_per_worker"].default
    ) -> None:
        self._max_streams_per_worker = max_streams_per_worker

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Return the wanted number of replicas and an empty state."""
        metrics = ctx.aggregated_metrics or {}
        wanted = metrics.get("num_wanted", {})
        if not wanted:
            return ctx.target_num_replicas, {}
        number = wanted_workers(
            round(max(wanted.values())),
            max_streams_per_worker=self._max_streams_per_worker,
            num_workers=ctx.current_num_replicas,
            num_overloaded=sum(value > 0.5 for value in metrics.get("is_overloaded", {}).values()),
            min_workers=ctx.capacity_adjusted_min_replicas,
            max_workers=ctx.capacity_adjusted_max_replicas,
        )
        return number, {}
