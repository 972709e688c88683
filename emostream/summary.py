"""Pure: events → what happened, per person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from emostream.event import EmotionEvent


@dataclass(slots=True)
class TrackSummary:
    """One person in one stream.

    Attributes:
        track_id: which person.
        first_seen_seconds, last_seen_seconds: time in the source.
        num_frames: frames with this face.
        dominant_counts: frames per dominant emotion.
        probability_sums: sum of smoothed probabilities per emotion.
    """

    track_id: int
    first_seen_seconds: float
    last_seen_seconds: float
    num_frames: int = 0
    dominant_counts: Counter[str] = field(default_factory=Counter)
    probability_sums: Counter[str] = field(default_factory=Counter)

    @property
    def dominant(self) -> str:
        """The emotion that was dominant in most frames."""
        return self.dominant_counts.most_common(1)[0][0]

    @property
    def dominant_share(self) -> float:
        """The share of frames in which it was dominant, 0…1."""
        return self.dominant_counts[self.dominant] / self.num_frames

    @property
    def mean_probabilities(self) -> dict[str, float]:
        """Mean smoothed probability per emotion."""
        return {emotion: total / self.num_frames for emotion, total in self.probability_sums.items()}


@dataclass(slots=True)
class StreamSummary:
    """All persons of one stream so far, in its latest epoch: an older one's track ids mean other people."""

    num_events: int = 0
    num_faces: int = 0
    last_event: EmotionEvent | None = None
    _tracks: dict[int, TrackSummary] = field(default_factory=dict)

    @property
    def tracks(self) -> Mapping[int, TrackSummary]:
        """By track id, in order of appearance."""
        return self._tracks

    def add(self, event: EmotionEvent) -> None:
        """Count an event of the stream; events come in order. A new epoch begins anew."""
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
            track.num_frames += 1
            track.dominant_counts[face.dominant] += 1
            track.probability_sums.update(face.smoothed.as_dict())
