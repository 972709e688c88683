"""What follows from events: changes, the prevailing emotion of a window, events that were seen before."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass

from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion

Person = tuple[str, int, int]
"""(stream id, epoch, track id)."""


_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Change:
    """A track began, changed its dominant emotion, or ended.

    Attributes:
        event: the event in which it shows.
        track_id: of the face.
        before: dominant emotion before; None when the track began.
        after: dominant emotion now; None when the track ended.
        face: the face now; None when the track ended.
    """

    event: EmotionEvent
    track_id: int
    before: str | None
    after: str | None
    face: FaceEmotion | None


class ChangeFinder:
    """Finds the changes from event to event, for any number of streams.

    A track has ended when its face was absent for `absent_seconds`, or when a new epoch began.

    Args:
        absent_seconds: seconds of source time.
    """

    def __init__(self, *, absent_seconds: float = 1.0) -> None:
        self._absent_seconds = absent_seconds
        self._known: dict[Person, tuple[str, float]] = {}

    def add(self, event: EmotionEvent) -> list[Change]:
        """The changes of this event, in order of track id, ended tracks first."""
        now = event.pts_seconds
        changes = [
            Change(event, track_id, before=self._known.pop((stream_id, epoch, track_id))[0], after=None, face=None)
            for stream_id, epoch, track_id in sorted(self._gone(event))
        ]
        for face in event.faces:
            if (track_id := face.track_id) is None:
                continue
            person = (event.stream_id, event.epoch, track_id)
            before, _ = self._known.get(person, (None, now))
            self._known[person] = (face.dominant, now)
            if face.dominant != before:
                changes.append(Change(event, track_id, before=before, after=face.dominant, face=face))
        return changes

    def _gone(self, event: EmotionEvent) -> list[Person]:
        present = {face.track_id for face in event.faces}
        return [
            (stream_id, epoch, track_id)
            for (stream_id, epoch, track_id), (_, seen_seconds) in self._known.items()
            if stream_id == event.stream_id
            and (
                epoch != event.epoch
                or (track_id not in present and event.pts_seconds - seen_seconds >= self._absent_seconds)
            )
        ]


class RepeatFilter:
    """Recognises events that were handled before, by the last event of each stream.

    A consumer that crashed between its work and its acknowledgement receives the same events again. Within a stream
    (epoch, frame_index) grows, so the last one is enough. Store `last` with the results, in the same transaction, and
    every event counts exactly once. Epochs are times in ms: an event whose epoch is more than a day ahead was forged,
    and is not remembered, because all others would count as handled before.

    Args:
        last: stream id → (epoch, frame_index) of the last handled event.
    """

    def __init__(self, last: dict[str, tuple[int, int]] | None = None) -> None:
        self.last = {} if last is None else last

    def is_new(self, event: EmotionEvent) -> bool:
        """Whether the event comes after the last one of its stream; if so, it becomes the last one."""
        place = (event.epoch, event.frame_index)
        if event.epoch > 1000 * (time.time() + _DAY_SECONDS):  # forged: all others would count as older
            return True
        if place <= self.last.get(event.stream_id, (-1, -1)):
            return False
        self.last[event.stream_id] = place
        return True


class DominantWindow:
    """The most frequent dominant emotion of the last seconds, over all faces of one stream.

    Args:
        seconds: length of the window in source time; above 0.
        track_id: count this track only; None counts all.
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
        """Add an event of the stream; a new epoch, or time that goes back, empties the window first."""
        now = event.pts_seconds
        if event.epoch != self._epoch or (self._names and now < self._names[-1][0]):
            self._names.clear()
            self._counts.clear()
            self._epoch = event.epoch
        for face in event.faces:
            if self._track_id in (None, face.track_id):
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
