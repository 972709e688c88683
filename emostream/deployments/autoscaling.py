"""Autoscaling of the worker replicas by the number of streams and their load."""

from __future__ import annotations

import math
from typing import Any

from ray.serve.config import AutoscalingContext

from emostream.config import ServiceSettings

# A worker is removed only when the others would be at most this full, so that one more stream does not add it again.
_SCALE_DOWN_FILL = 0.8


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
        num_overloaded: workers that drop frames although they could release a stream.
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
