"""The number of worker replicas follows the number of streams and the load they make."""

from __future__ import annotations

from typing import Any

from ray.serve.config import AutoscalingContext

from emostream.config import ServiceSettings
from emostream.service.scaling import wanted_workers


class StreamWorkerPolicy:
    """Named in a Serve configuration as `policy_function`; `policy_kwargs` are the arguments.

    Args:
        max_streams_per_worker: as in the settings of the application.
    """

    def __init__(
        self, max_streams_per_worker: int = ServiceSettings.model_fields["max_streams_per_worker"].default
    ) -> None:
        self._max_streams_per_worker = max_streams_per_worker

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Replicas wanted; there is no state to keep."""
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
