"""Summarises events per track and per interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from emostream.domain.event import EmotionEvent, SummaryEvent


@dataclass(slots=True)
class TrackSummary:
    """Summary of one track.

    Attributes:
        track_id: the track.
        person_id: whose it is; None where that is not known.
        first_seen_seconds, last_seen_seconds: time in the source.
        num_frames: frames with this face.
        dominant_counts: frames per dominant emotion.
        probability_sums: sum of smoothed probabilities per emotion.
    """

    track_id: int
    first_seen_seconds: float
    last_seen_seconds: float
    person_id: int | None = None
    num_frames: int = 0
    dominant_counts: Counter[str] = field(default_factory=Counter)
    probability_sums: Counter[str] = field(default_factory=Counter)

    @property
    def dominant(self) -> str:
        """The emotion that was dominant in most frames."""
        return self.dominant_counts.most_common(1)[0][0]

    @property
    def dominant_share(self) -> float:
        """Share of frames with that emotion, 0…1."""
        return self.dominant_counts[self.dominant] / self.num_frames

    @property
    def mean_probabilities(self) -> dict[str, float]:
        """Mean smoothed probability per emotion."""
        return {emotion: total / self.num_frames for emotion, total in self.probability_sums.items()}


@dataclass(slots=True)
class StreamSummary:
    """Summary of a stream's latest epoch, per track. Track ids of an older epoch belong to other people."""

    num_events: int = 0
    num_faces: int = 0
    last_event: EmotionEvent | None = None
    _tracks: dict[int, TrackSummary] = field(default_factory=dict)

    @property
    def tracks(self) -> Mapping[int, TrackSummary]:
        """Track id → summary, in order of appearance."""
        return self._tracks

    @property
    def num_persons(self) -> int | None:
        """Different persons among the tracks; None where persons are not told apart."""
        return len({track.person_id for track in self._tracks.values()} - {None}) or None

    @property
    def head_count(self) -> str:
        """How many there were, for people: "2 people in 8 appearances", or "8 appearances".

        >>> StreamSummary().head_count
        '0 appearances'
        """
        appearances, persons = len(self._tracks), self.num_persons
        text = f"{appearances:,} appearance{'' if appearances == 1 else 's'}"
        return text if persons is None else f"{persons:,} {'person' if persons == 1 else 'people'} in {text}"

    def add(self, event: EmotionEvent) -> None:
        """Add the next event of the stream. A new epoch resets the summary."""
        if self.last_event is not None and self.last_event.epoch != event.epoch:
            self.num_events = self.num_faces = 0
            self._tracks = {}
        self.num_events += 1
        self.num_faces += len(event.faces)
        self.last_event = event
        for face in event.faces:
            track_id = face.face.track_id
            if track_id is None:
                continue
            track = self._tracks.get(track_id)
            if track is None:
                track = self._tracks[track_id] = TrackSummary(track_id, event.pts_seconds, event.pts_seconds)
            track.last_seen_seconds = event.pts_seconds
            track.person_id = face.face.person_id if face.face.person_id is not None else track.person_id
            track.num_frames += 1
            track.dominant_counts[face.dominant] += 1
            track.probability_sums.update(face.smoothed.as_dict())


class RollingSummary:
    """Summarises the events of one run of a stream, one interval after the other. Not thread-safe.

    The first interval starts with the first event. An event `interval_seconds` or more after the start ends the
    interval and starts the next one; so does a source time that goes back. Every event is in exactly one summary.

    Args:
        interval_seconds: length in source time; greater than 0.
    """

    def __init__(self, *, interval_seconds: float) -> None:
        if interval_seconds <= 0:
            raise ValueError(f"expected interval_seconds > 0, got {interval_seconds}")
        self._interval_seconds = interval_seconds
        self._num_summaries = 0
        self._first: EmotionEvent | None = None
        self._last: EmotionEvent | None = None
        self._num_frames = 0
        self._num_dropped = 0
        self._track_ids: set[int | None] = set()
        self._person_ids: set[int | None] = set()
        self._dominant_counts: Counter[str] = Counter()
        self._probability_sums: Counter[str] = Counter()

    def add(self, event: EmotionEvent) -> SummaryEvent | None:
        """Add an event. Returns the summary of the previous interval when the event starts a new one."""
        summary = None
        if self._first is not None and self._last is not None:
            elapsed = event.pts_seconds - self._first.pts_seconds
            if elapsed >= self._interval_seconds or event.pts_seconds < self._last.pts_seconds:
                summary = self.finish()
        if self._first is None:
            self._first = event
        self._last = event
        self._num_frames += 1
        self._num_dropped += event.num_dropped
        for face in event.faces:
            self._track_ids.add(face.face.track_id)
            self._person_ids.add(face.face.person_id)
            self._dominant_counts[face.dominant] += 1
            self._probability_sums.update(face.smoothed.as_dict())
        return summary

    def finish(self) -> SummaryEvent | None:
        """End the current interval and return its summary; None when it has no events."""
        if self._first is None or self._last is None:
            return None
        num_faces = self._dominant_counts.total()
        summary = SummaryEvent(
            stream_id=self._first.stream_id,
            epoch=self._first.epoch,
            summary_index=self._num_summaries,
            started_at=self._first.captured_at,
            ended_at=self._last.captured_at,
            started_pts_seconds=self._first.pts_seconds,
            ended_pts_seconds=self._last.pts_seconds,
            num_frames=self._num_frames,
            num_faces=num_faces,
            num_tracks=len(self._track_ids),
            num_persons=len(self._person_ids - {None}) or None,
            num_dropped=self._num_dropped,
            dominant_counts=dict(self._dominant_counts),
            mean_probabilities={
                label: min(1.0, max(0.0, total / num_faces)) for label, total in self._probability_sums.items()
            },
        )
        self._num_summaries += 1
        self._begin()
        return summary

    def _begin(self) -> None:
        self._first = self._last = None
        self._num_frames = self._num_dropped = 0
        self._track_ids = set()
        self._person_ids = set()
        self._dominant_counts = Counter()
        self._probability_sums = Counter()
