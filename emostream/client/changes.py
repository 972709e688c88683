"""Pure: only what changes."""

from __future__ import annotations

from dataclasses import dataclass

from emostream.event import EmotionEvent, FaceEmotion

Person = tuple[str, int, int]
"""(stream id, epoch, track id)."""


@dataclass(frozen=True, slots=True)
class Change:
    """A person came, changed the dominant emotion, or left.

    Attributes:
        event: the event in which it shows.
        track_id: who.
        before: dominant emotion before; None when the person came.
        after: dominant emotion now; None when the person left.
        face: the face now; None when the person left.
    """

    event: EmotionEvent
    track_id: int
    before: str | None
    after: str | None
    face: FaceEmotion | None


class ChangeFinder:
    """Gives the changes from event to event, for any number of streams.

    A person has left when the face was absent for `absent_seconds` of source time, or when a new epoch began.

    Args:
        absent_seconds: as above.
    """

    def __init__(self, *, absent_seconds: float = 1.0) -> None:
        self._absent_seconds = absent_seconds
        self._known: dict[Person, tuple[str, float]] = {}

    def add(self, event: EmotionEvent) -> list[Change]:
        """What changed with this event, in order of track id, people who left first."""
        now = event.pts_seconds
        changes = [
            Change(event, track_id, before=self._known.pop((stream_id, epoch, track_id))[0], after=None, face=None)
            for stream_id, epoch, track_id in sorted(self._gone(event))
        ]
        for face in event.faces:
            if (track_id := face.face.track_id) is None:
                continue
            person = (event.stream_id, event.epoch, track_id)
            before, _ = self._known.get(person, (None, now))
            self._known[person] = (face.dominant, now)
            if face.dominant != before:
                changes.append(Change(event, track_id, before=before, after=face.dominant, face=face))
        return changes

    def _gone(self, event: EmotionEvent) -> list[Person]:
        present = {face.face.track_id for face in event.faces}
        return [
            (stream_id, epoch, track_id)
            for (stream_id, epoch, track_id), (_, seen_seconds) in self._known.items()
            if stream_id == event.stream_id
            and (
                epoch != event.epoch
                or (track_id not in present and event.pts_seconds - seen_seconds >= self._absent_seconds)
            )
        ]
