"""Pure: how long a batch waits for more crops."""

from __future__ import annotations

MIN_WINDOW_SECONDS = 0.002
"""Waiting less gathers nothing: it is about what a hand-over between threads takes."""
MAX_WINDOW_SECONDS = 0.030
"""Waiting longer would be a share of the latency that people notice."""

# A new arrival has this weight in the mean interval: the rate of the last ten arrivals or so.
_WEIGHT_OF_NEW = 0.1


class ArrivalWindow:
    """Chooses the waiting time of a batch by how fast crops arrive. Time is a parameter; not thread-safe.

    The window is as long as `wanted_crops` take to arrive, within 2…30 ms. When fewer than two of them would come in
    the longest window, waiting only costs, so the shortest is chosen.

    Args:
        wanted_crops: a batch of this size is worth waiting for; larger ones are hardly cheaper per crop.
    """

    def __init__(self, *, wanted_crops: int) -> None:
        if wanted_crops < 1:
            raise ValueError(f"expected wanted_crops ≥ 1, got {wanted_crops}")
        self._wanted_crops = wanted_crops
        self._mean_interval_seconds: float | None = None
        self._last_arrival_seconds: float | None = None

    def arrived(self, num_crops: int, *, now_seconds: float) -> None:
        """Count an arrival of `num_crops` ≥ 1 at a monotonic instant."""
        last, self._last_arrival_seconds = self._last_arrival_seconds, now_seconds
        if last is None:
            return
        # Idle time says little about the rate while there is work, so it counts as a second at most.
        interval = min(max(now_seconds - last, 0.0), 1.0) / num_crops
        mean = self._mean_interval_seconds
        self._mean_interval_seconds = interval if mean is None else mean + _WEIGHT_OF_NEW * (interval - mean)

    @property
    def seconds(self) -> float:
        """How long the next batch should wait for more, from its first crop on."""
        interval = self._mean_interval_seconds
        if interval is None or 2 * interval > MAX_WINDOW_SECONDS:
            return MIN_WINDOW_SECONDS
        return min(max(self._wanted_crops * interval, MIN_WINDOW_SECONDS), MAX_WINDOW_SECONDS)
