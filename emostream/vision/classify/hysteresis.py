"""Names the emotion a followed face shows, so that the name does not flicker: hysteresis in time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emostream.domain.event import UNKNOWN, QualityFlag

# One flag is a warning and the scores are still worth naming; two together (small and blurred, dark and turned away)
# leave the classifier little to see.
_TOO_MANY_FLAGS = 2


@dataclass(slots=True)
class _State:
    name: str
    changed_at: float
    challenger: str = ""
    challenged_at: float = math.inf
    bad_since: float | None = None

    def not_after(self, pts_seconds: float) -> None:
        """Time went back in the source: what it waits for begins anew."""
        self.changed_at = min(self.changed_at, pts_seconds)
        if self.challenger:
            self.challenged_at = min(self.challenged_at, pts_seconds)
        self.bad_since = None if self.bad_since is None else min(self.bad_since, pts_seconds)


class EmotionHysteresis:
    """The name per track. One per stream; not thread-safe.

    Another emotion takes over when it is more probable by `margin`, or more probable at all for `hold_seconds` without
    a break; and in no case sooner than `hold_seconds` after the last change. So a name lives at least that long, and an
    emotion that comes to stay is named after at most `hold_seconds`.

    Where the picture is too bad, the name stays for `hold_seconds` and is `unknown` then; the first good picture ends
    that. A face that is bad from the beginning is unknown from the beginning.

    Args:
        hold_seconds: as above; 0 names the most probable emotion of every frame.
        margin: difference of probabilities, 0…1.
    """

    def __init__(self, *, hold_seconds: float, margin: float) -> None:
        if hold_seconds < 0:
            raise ValueError(f"expected hold_seconds ≥ 0, got {hold_seconds}")
        if not 0 <= margin <= 1:
            raise ValueError(f"expected margin in 0…1, got {margin}")
        self.hold_seconds = hold_seconds
        self.margin = margin
        """Both may be changed at any time; the names of tracks go on."""
        self._states: dict[int, _State] = {}

    def name(
        self,
        track_id: int,
        probabilities: Sequence[float],
        *,
        labels: Sequence[str],
        quality: Sequence[QualityFlag],
        pts_seconds: float,
    ) -> str:
        """The name after this frame.

        Args:
            track_id: whose face.
            probabilities: smoothed, one per label.
            labels: the model's classes.
            quality: the flags of this frame.
            pts_seconds: time in the source.
        """
        state = self._states.get(track_id)
        leader = labels[max(range(len(labels)), key=probabilities.__getitem__)]
        if state is not None:
            state.not_after(pts_seconds)
        if is_too_bad(quality):
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
        """Drop the state of tracks that ended; unknown ids are fine."""
        for track_id in track_ids:
            self._states.pop(track_id, None)

    def __len__(self) -> int:
        """How many tracks are remembered."""
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


def is_too_bad(quality: Sequence[QualityFlag]) -> bool:
    """Whether too much is wrong with the picture of a face to name an emotion.

    >>> is_too_bad(["small"]), is_too_bad(["small", "blurred"])
    (False, True)
    """
    return len(quality) >= _TOO_MANY_FLAGS
