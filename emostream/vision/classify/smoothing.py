"""Exponential smoothing in time of each track's probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(slots=True)
class _State:
    probabilities: npt.NDArray[np.float64]
    at_seconds: float


class EmotionSmoother:
    """Smooths each track's probabilities with a time constant in seconds. One per stream; not thread-safe.

    After `time_constant_seconds` a new value has 63 % of the weight, independent of the frame rate: two steps of half
    the time equal one step of the whole. Each result is a mean of distributions and so a distribution itself.

    Args:
        time_constant_seconds: 0 disables smoothing.
    """

    def __init__(self, *, time_constant_seconds: float) -> None:
        if time_constant_seconds < 0:
            raise ValueError(f"expected time_constant_seconds ≥ 0, got {time_constant_seconds}")
        self.time_constant_seconds = time_constant_seconds
        """May be changed while running; tracks keep their state."""
        self._states: dict[int, _State] = {}

    def smooth(
        self, track_id: int, probabilities: npt.NDArray[np.floating], *, pts_seconds: float
    ) -> npt.NDArray[np.float64]:
        """The smoothed probabilities of a track after this frame; the first value of a track is returned unchanged."""
        current = np.array(probabilities, dtype=np.float64)
        state = self._states.get(track_id)
        if state is None:
            self._states[track_id] = _State(current, pts_seconds)
            return current.copy()
        weight = self._weight_of_new(pts_seconds - state.at_seconds)
        state.probabilities = state.probabilities + weight * (current - state.probabilities)
        state.at_seconds = max(state.at_seconds, pts_seconds)
        return state.probabilities.copy()

    def forget(self, track_ids: Iterable[int]) -> None:
        """Drop the state of tracks that ended; unknown ids are ignored."""
        for track_id in track_ids:
            self._states.pop(track_id, None)

    def __len__(self) -> int:
        """Number of tracks with state."""
        return len(self._states)

    def _weight_of_new(self, elapsed_seconds: float) -> float:
        if self.time_constant_seconds == 0:
            return 1.0
        return -math.expm1(-max(elapsed_seconds, 0.0) / self.time_constant_seconds)
