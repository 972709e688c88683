"""The named (dominant) emotion of each track, with hysteresis in time so that it does not flicker."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emostream.domain.event import UNKNOWN


@dataclass(slots=True)
class _State:
    name: str
    changed_at: float
    challenger: str = ""
    challenged_at: float = math.inf
    bad_since: float | None = None

    def not_after(self, pts_seconds: float) -> None:
        """The source's time went back: restart the pending intervals."""
        self.changed_at = min(self.changed_at, pts_seconds)
        if self.challenger:
            self.challenged_at = min(self.challenged_at, pts_seconds)
        self.bad_since = None if self.bad_since is None else min(self.bad_since, pts_seconds)


class EmotionHysteresis:
    """Keeps the dominant emotion per track. One per stream; not thread-safe.

    Another emotion takes over when its probability is higher by `margin`, or higher at all for `hold_seconds` without a
    break, and never within `hold_seconds` of the last change. So each name lasts at least `hold_seconds`, and an
    emotion that persists is named after at most `hold_seconds`.

    While too little of the face is seen, or no emotion is probable enough, the name is kept for `hold_seconds` and then
    becomes `unknown`; the first frame that is better ends that. A track that starts like this starts as `unknown`.

    Args:
        hold_seconds: see above; 0 names the most probable emotion of every frame.
        margin: difference of probabilities, 0…1.
        min_confidence: smallest smoothed probability of an emotion that is named; 0 names any.
    """

    def __init__(self, *, hold_seconds: float, margin: float, min_confidence: float = 0.0) -> None:
        if hold_seconds < 0:
            raise ValueError(f"expected hold_seconds ≥ 0, got {hold_seconds}")
        if not 0 <= margin <= 1:
            raise ValueError(f"expected margin in 0…1, got {margin}")
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"expected min_confidence in 0…1, got {min_confidence}")
        self._min_confidence = min_confidence
        self.hold_seconds = hold_seconds
        self.margin = margin
        """Both may be changed while running; tracks keep their names."""
        self._states: dict[int, _State] = {}

    def name(
        self,
        track_id: int,
        probabilities: Sequence[float],
        *,
        labels: Sequence[str],
        is_readable: bool,
        pts_seconds: float,
    ) -> str:
        """The dominant emotion of a track after this frame.

        Args:
            track_id: the track.
            probabilities: smoothed, one per label.
            labels: the model's classes.
            is_readable: whether enough of the face is seen in this frame.
            pts_seconds: time in the source.

        Returns:
            One of `labels`, or `unknown`.
        """
        state = self._states.get(track_id)
        best = max(probabilities)
        leader = labels[probabilities.index(best)]
        if state is not None:
            state.not_after(pts_seconds)
        if not is_readable or best < self._min_confidence:
            if state is None:
                state = self._states[track_id] = _State(UNKNOWN, pts_seconds, bad_since=pts_seconds)
            return self._name_of_bad(state, pts_seconds)
        if state is None or state.name == UNKNOWN or state.name not in labels:
            self._states[track_id] = _State(leader, pts_seconds)
            return leader
        state.bad_since = None
        lead = probabilities[labels.index(leader)] - probabilities[labels.index(state.name)]
        if lead <= 0:
            state.challenger = ""
        elif self._takes_over(state, leader, lead=lead, pts_seconds=pts_seconds):
            state.name, state.changed_at, state.challenger = leader, pts_seconds, ""
        return state.name

    def forget(self, track_ids: Iterable[int]) -> None:
        """Drop the state of tracks that ended; unknown ids are ignored."""
        for track_id in track_ids:
            self._states.pop(track_id, None)

    def __len__(self) -> int:
        """Number of tracks with state."""
        return len(self._states)

    def _takes_over(self, state: _State, leader: str, *, lead: float, pts_seconds: float) -> bool:
        if leader != state.challenger:
            state.challenger, state.challenged_at = leader, pts_seconds
        if pts_seconds - state.changed_at < self.hold_seconds:
            return False
        return lead >= self.margin or pts_seconds - state.challenged_at >= self.hold_seconds

    def _name_of_bad(self, state: _State, pts_seconds: float) -> str:
        state.challenger = ""
        if state.bad_since is None:
            state.bad_since = pts_seconds
        if state.name != UNKNOWN and pts_seconds - state.bad_since >= self.hold_seconds:
            state.name, state.changed_at = UNKNOWN, pts_seconds
        return state.name
