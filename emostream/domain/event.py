"""What consumers receive: events of frames, of changes in a stream's life, and summaries of intervals.

How an event looks on the wire is not decided here but in `wire/events.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from emostream.domain.emotion import EmotionScores
from emostream.domain.face import BoxXyxy, Face, Landmarks
from emostream.domain.stream import StreamState

QualityFlag = Literal["small", "blurred", "dark", "profile", "occluded"]
"""Why the scores of a face deserve less trust. Events of later versions may carry others."""

StatusKind = Literal["state", "consumer_behind"]
"""What a status event tells: a change of state, or that trimming is about to overtake a consumer group. Events of later
versions may tell other things."""

UNKNOWN = "unknown"
"""Stands in place of the dominant emotion where the picture of the face is too bad to name one."""

MAX_NAME_LENGTH = 256
"""Of classes and models, in characters: what the reader of an event takes (`wire/event_models.py`)."""


def class_name_problem(name: str) -> str | None:
    """What keeps a text from being the name of a class in events; None when nothing does.

    >>> class_name_problem("müde & gereizt"), class_name_problem("unknown")
    (None, "'unknown' is what events say where no class can be named")
    """
    if not name or name != name.strip():
        return f"{name!r} is empty or has blanks at an end"
    if len(name) > MAX_NAME_LENGTH:
        return f"{name[:20]!r}… has more than {MAX_NAME_LENGTH} characters"
    if not name.isprintable():
        return f"{name!r} has characters that cannot be printed"
    return f"{name!r} is what events say where no class can be named" if name == UNKNOWN else None


@dataclass(frozen=True, slots=True, repr=False)
class FaceEmotion:
    """A followed face and what its expression looks like.

    Attributes:
        face: where it is; `track_id` is set.
        scores: what the model said of this frame alone.
        smoothed: the same over the recent past of this track.
        quality: flags raised by measurements on this frame.
        dominant: the emotion this face is said to show: one of the labels, or `UNKNOWN`. When not given, the most
            probable one after smoothing; the pipeline gives one that does not flicker
            (`vision/classify/hysteresis.py`).
        zones: names of the zones of the picture that the face is in, in the order of the stream's specification.
    """

    face: Face
    scores: EmotionScores
    smoothed: EmotionScores
    quality: tuple[QualityFlag | str, ...] = ()
    dominant: str = ""
    zones: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.dominant:
            object.__setattr__(self, "dominant", self.smoothed.dominant)
        elif self.dominant != UNKNOWN and self.dominant not in self.smoothed.labels:
            raise ValueError(
                f"expected a dominant emotion of {self.smoothed.labels} or {UNKNOWN!r}, got {self.dominant!r}"
            )

    @property
    def track_id(self) -> int | None:
        """Which person in this stream; of a picture the number of the face."""
        return self.face.track_id

    @property
    def box_xyxy(self) -> BoxXyxy:
        """Left, top, right, bottom in pixels of the frame; may reach over its border."""
        return self.face.box_xyxy

    @property
    def landmarks(self) -> Landmarks:
        """Five points (x, y) in pixels; none where a stream publishes none."""
        return self.face.landmarks

    @property
    def score(self) -> float:
        """The detector's confidence, 0…1."""
        return self.face.score

    @property
    def found_by(self) -> str:
        """ "detector", or "flow" where the face was followed from an earlier frame."""
        return self.face.found_by

    @property
    def probabilities(self) -> dict[str, float]:
        """Label → probability by the model, from this frame alone."""
        return self.scores.as_dict()

    @property
    def smoothed_probabilities(self) -> dict[str, float]:
        """Label → probability over the recent past of this track."""
        return self.smoothed.as_dict()

    @property
    def confidence(self) -> float:
        """The smoothed probability of the dominant emotion, 0…1; 0 when it is unknown."""
        if self.dominant not in self.smoothed.labels:
            return 0.0
        return self.smoothed.probabilities[self.smoothed.labels.index(self.dominant)]

    def __repr__(self) -> str:
        left, top, right, bottom = (round(value) for value in self.box_xyxy)
        box = f"({left}, {top}, {right}, {bottom})"
        return f"FaceEmotion(track_id={self.track_id}, {self.dominant!r}, {self.confidence:.2f}, box_xyxy={box})"


@dataclass(frozen=True, slots=True, repr=False)
class EmotionEvent:
    """All faces of one frame.

    Attributes:
        stream_id: which stream.
        epoch: which run of the stream; grows with each owner, so (epoch, frame_index) names a frame for ever.
        frame_index: 0-based position in the source.
        pts_seconds: time in the source.
        captured_at: when the frame was received, aware UTC.
        frame_width, frame_height: pixels.
        model_name, model_version: what classified the faces.
        faces: in order of track id; empty when nobody is in the picture.
        latency_ms: milliseconds per stage for this frame, for example {"decode": 1.1}.
        num_dropped: frames of this stream lost since the last event.
        is_classified: whether this frame's faces were classified; otherwise the machine had too much work, and they
            carry the emotions and quality flags of the last frame in which they were.
    """

    stream_id: str
    epoch: int
    frame_index: int
    pts_seconds: float
    captured_at: datetime
    frame_width: int
    frame_height: int
    model_name: str
    model_version: str
    faces: tuple[FaceEmotion, ...] = ()
    latency_ms: dict[str, float] = field(default_factory=dict)
    num_dropped: int = 0
    is_classified: bool = True

    def __post_init__(self) -> None:
        if self.captured_at.tzinfo is None:
            raise ValueError("expected an aware captured_at (UTC), got a naive datetime")
        if self.frame_index < 0 or self.epoch < 0 or self.num_dropped < 0:
            raise ValueError("expected frame_index, epoch and num_dropped ≥ 0")

    def __repr__(self) -> str:
        faces = ", ".join(map(repr, self.faces))
        return f"EmotionEvent({self.stream_id!r}, frame_index={self.frame_index}, {self.pts_seconds:.3f}s, [{faces}])"


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A change in the life of a stream: it runs, it reconnects, it ended, it failed.

    Attributes:
        stream_id: which stream.
        epoch: which run of it.
        state: the state it is in now.
        at: when it changed, aware UTC.
        detail: one sentence for people, credentials removed; empty when there is nothing to say.
        num_events: emotion events published so far in this epoch.
        kind: what this event tells; with "consumer_behind", `state` is the one the stream was in already.
    """

    stream_id: str
    epoch: int
    state: StreamState
    at: datetime
    detail: str = ""
    num_events: int = 0
    kind: StatusKind | str = "state"


@dataclass(frozen=True, slots=True)
class SummaryEvent:
    """What the events of one stream said over an interval.

    Attributes:
        stream_id, epoch: which run of which stream.
        summary_index: 0-based number of the interval in this run; intervals do not overlap.
        started_at, ended_at: capture time of its first and of its last frame, aware UTC.
        started_pts_seconds, ended_pts_seconds: the same in source time.
        num_frames: events in it.
        num_faces: faces in them, over all frames.
        num_tracks: different people seen.
        num_dropped: frames lost in it.
        dominant_counts: faces per dominant emotion, `UNKNOWN` included; emotions that were never dominant are absent.
        mean_probabilities: mean smoothed probability per label over all faces; empty when there was no face.
    """

    stream_id: str
    epoch: int
    summary_index: int
    started_at: datetime
    ended_at: datetime
    started_pts_seconds: float
    ended_pts_seconds: float
    num_frames: int
    num_faces: int
    num_tracks: int
    num_dropped: int
    dominant_counts: dict[str, int] = field(default_factory=dict)
    mean_probabilities: dict[str, float] = field(default_factory=dict)

    @property
    def dominant_shares(self) -> dict[str, float]:
        """The share of faces per dominant emotion, 0…1; empty when there was no face."""
        return {emotion: count / self.num_faces for emotion, count in self.dominant_counts.items()}
