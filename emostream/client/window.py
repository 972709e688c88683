"""Pure: the dominant emotion over the last seconds."""

from __future__ import annotations

from collections import Counter, deque

from emostream.event import UNKNOWN, EmotionEvent


class DominantWindow:
    """Which emotion was named most often lately, over all faces of one stream.

    Args:
        seconds: length of the window in source time; above 0.
        track_id: count this person only; None counts all.
    """

    def __init__(self, *, seconds: float, track_id: int | None = None) -> None:
        if seconds <= 0:
            raise ValueError(f"expected seconds > 0, got {seconds}")
        self._seconds = seconds
        self._track_id = track_id
        self._names: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()
        self._epoch = -1

    def add(self, event: EmotionEvent) -> None:
        """Count an event of the stream; a new epoch, or time that goes back, empties the window first."""
        now = event.pts_seconds
        if event.epoch != self._epoch or (self._names and now < self._names[-1][0]):
            self._names.clear()
            self._counts.clear()
            self._epoch = event.epoch
        for face in event.faces:
            if self._track_id in (None, face.face.track_id):
                self._names.append((now, face.dominant))
                self._counts[face.dominant] += 1
        while self._names and now - self._names[0][0] > self._seconds:
            _, name = self._names.popleft()
            self._counts[name] -= 1

    @property
    def dominant(self) -> str | None:
        """The name with most faces; `UNKNOWN` only when no face has another; None when there is no face."""
        named = {name: count for name, count in self._counts.items() if count > 0}
        known = {name: count for name, count in named.items() if name != UNKNOWN}
        return max(known or named, key=named.__getitem__, default=None)

    @property
    def shares(self) -> dict[str, float]:
        """The share of faces per name, 0…1; empty when there is no face."""
        total = self._counts.total()
        return {name: count / total for name, count in self._counts.items() if count > 0}
