"""What consumers receive: events of frames, of changes in a stream's life, and summaries of intervals.

Each field is declared here once: its type says what is published (`domain/fields.py`), its docstring stands in the JSON
Schema and in `docs/events.md`. `wire/` derives everything else from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen

from emostream.domain.emotion import EmotionScores
from emostream.domain.face import BoxXyxy, Face, Landmarks
from emostream.domain.fields import (
    MAX_NAME_LENGTH,
    OPTIONAL,
    Count,
    Degrees,
    Digits,
    Milliseconds,
    Published,
    Seconds,
    Share,
    Text,
)
from emostream.domain.stream import StreamState

QualityFlag = Literal["small", "blurred", "dark", "profile", "pitched", "cut", "occluded"]
"""Why the scores of a face deserve less trust. Events of later versions may carry others."""

DerivedAffect = Annotated[float, Ge(-1), Le(1), Digits(4)]
"""A mean of coordinates of emotions (`domain/affect.py`)."""

StatusKind = Literal["state", "consumer_behind", "events_lost"]
"""What a status event reports: a change of state, that trimming is about to overtake a consumer group, or that events
of an earlier run are lost. Events of later versions may report other things."""

UNKNOWN = "unknown"
"""Stands in place of the dominant emotion where too little is seen, or the scores are too close, to name one."""


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
    """A followed face and its expression."""

    face: Face
    """Where it is; `track_id` is set."""
    scores: Annotated[EmotionScores, Published("probabilities")]
    """What the model says of this frame alone: a probability per emotion, in the order of the model; they sum to 1."""
    smoothed: Annotated[EmotionScores, Published("smoothed_probabilities")]
    """The same over the recent past of this track."""
    dominant: Text = field(default="", kw_only=True)
    """The emotion that this face shows, chosen so that it does not flicker: a name of `smoothed_probabilities`, or
    `unknown` where too little of the face is seen, or its scores are too close, to name one."""
    confidence: Share = field(init=False, repr=False, compare=False)
    """The smoothed probability of the dominant emotion; 0 when it is unknown."""
    quality: Annotated[tuple[QualityFlag | str, ...], MaxLen(64)] = ()
    """Why the scores deserve less trust; empty when nothing is wrong. Later versions may add some."""
    zones: Annotated[tuple[Text, ...], MaxLen(64)] = field(default=(), kw_only=True)
    """Names of the zones of the stream that contain the middle of the face."""
    yaw_degrees: Annotated[Degrees | None, OPTIONAL] = field(default=None, kw_only=True)
    """How far the head turns: positive where the nose points to the right of the picture, 0 straight ahead. Estimated
    from the landmarks, as the other two; the more a head turns, the less its scores say."""
    pitch_degrees: Annotated[Degrees | None, OPTIONAL] = field(default=None, kw_only=True)
    """How far it looks up; negative where it looks down."""
    roll_degrees: Annotated[Degrees | None, OPTIONAL] = field(default=None, kw_only=True)
    """How far it leans clockwise, as seen in the picture."""
    derived_valence: Annotated[DerivedAffect | None, OPTIONAL] = field(default=None, kw_only=True)
    """How pleasant the expression is, −1 to 1: derived from `smoothed_probabilities` by the table of Russell and
    Mehrabian (1977), not measured. Absent where the model has classes that are not in it."""
    derived_arousal: Annotated[DerivedAffect | None, OPTIONAL] = field(default=None, kw_only=True)
    """How excited it is, −1 (calm) to 1: derived as the valence."""
    is_classified: Annotated[bool, OPTIONAL] = field(default=True, kw_only=True)
    """Whether the face was classified in this frame. `false` means that it hardly changed, or that the machine was
    overloaded: its probabilities lie between those of the frames before and after it, or are those before. Absent means
    true."""

    def __post_init__(self) -> None:
        smoothed, dominant = self.smoothed, self.dominant
        if not dominant:
            dominant = smoothed.dominant
            object.__setattr__(self, "dominant", dominant)
        if dominant in smoothed.labels:
            confidence = smoothed.probabilities[smoothed.labels.index(dominant)]
        elif dominant == UNKNOWN:
            confidence = 0.0
        else:
            raise ValueError(f"expected a dominant emotion of {smoothed.labels} or {UNKNOWN!r}, got {dominant!r}")
        object.__setattr__(self, "confidence", confidence)

    @property
    def track_id(self) -> int | None:
        """Which appearance in this stream; of a picture the number of the face."""
        return self.face.track_id

    @property
    def person_id(self) -> int | None:
        """Which person in this stream; None while that is not known, and where persons are not told apart."""
        return self.face.person_id

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

    def __repr__(self) -> str:
        left, top, right, bottom = (round(value) for value in self.box_xyxy)
        box = f"({left}, {top}, {right}, {bottom})"
        return f"FaceEmotion(track_id={self.track_id}, {self.dominant!r}, {self.confidence:.2f}, box_xyxy={box})"


@dataclass(frozen=True, slots=True, repr=False)
class EmotionEvent:
    """All faces of one frame of a stream."""

    stream_id: Text
    """Id of the stream."""
    epoch: Count
    """Which run of the stream; later runs have larger ones. With `frame_index` it identifies a frame."""
    frame_index: Count
    """0-based position of the frame in its source. Grows; gaps are frames that were not processed or not published."""
    pts_seconds: Seconds
    """Time in the source."""
    captured_at: datetime
    """When the frame was received, UTC."""
    frame_width: Count
    """Pixels as they are stored, upright. Boxes and landmarks count the same pixels."""
    frame_height: Count
    """Pixels as they are stored, upright."""
    model_name: Text
    """Name of the emotion model."""
    model_version: Text
    """Its version."""
    latency_ms: dict[Text, Milliseconds] = field(default_factory=dict, kw_only=True)
    """Milliseconds spent on this frame per stage; `total` is from its reception to publishing."""
    num_dropped: Count = field(default=0, kw_only=True)
    """Frames of this stream that were lost since the last event."""
    faces: tuple[FaceEmotion, ...] = ()
    """In order of track id; empty when there is no face in the picture."""
    is_classified: Annotated[bool, Published("classified", is_optional=True)] = field(default=True, kw_only=True)
    """Whether the faces of this frame were classified. `false` means that the machine was overloaded: the faces carry
    the emotions and quality flags of the last frame that was classified. Absent means true."""
    pixel_aspect: Annotated[float, Gt(0), Digits(6), OPTIONAL] = field(default=1.0, kw_only=True)
    """Width of a pixel over its height, as the picture is shown: it is `frame_width` × `pixel_aspect` wide and
    `frame_height` high. Absent means 1: pixels are square."""

    def __post_init__(self) -> None:
        if self.captured_at.tzinfo is None:
            raise ValueError("expected an aware captured_at (UTC), got a naive datetime")
        if self.frame_index < 0 or self.epoch < 0 or self.num_dropped < 0:
            raise ValueError("expected frame_index, epoch and num_dropped ≥ 0")

    def scaled_to(self, *, width: int, height: int) -> EmotionEvent:
        """The event for a picture of this size, of square pixels, that shows the whole frame; to draw it there."""
        if (width, height) == (self.frame_width, self.frame_height):
            return self
        x, y = width / self.frame_width, height / self.frame_height
        faces = tuple(replace(found, face=found.face.scaled(x, y)) for found in self.faces)
        return replace(self, frame_width=width, frame_height=height, pixel_aspect=1.0, faces=faces)

    def to_json(self) -> str:
        """The event as it is published: JSON on one line.

        Raises:
            ValueError: it holds a number that JSON cannot (infinite, not a number, beyond 2⁵³).
        """
        from emostream.domain.event_content import compact_json, event_writer  # which needs this module

        return compact_json(event_writer()(self))

    def to_dict(self) -> dict[str, Any]:
        """What the published JSON holds; errors as for `to_json`."""
        content: dict[str, Any] = json.loads(self.to_json())
        return content

    def __repr__(self) -> str:
        faces = ", ".join(map(repr, self.faces))
        return f"EmotionEvent({self.stream_id!r}, frame_index={self.frame_index}, {self.pts_seconds:.3f}s, [{faces}])"


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A change in the life of a stream, or a warning about it."""

    stream_id: Text
    """Id of the stream."""
    epoch: Count
    """Which run of it."""
    state: StreamState
    """The state it is in now; in a warning, the state it was in already."""
    at: datetime
    """When it changed, UTC."""
    detail: Annotated[str, MaxLen(10_000)] = ""
    """One sentence about it, without credentials; may be empty."""
    num_events: Count = 0
    """Emotion events published so far in this epoch; in a warning 0, of `events_lost` how many are lost."""
    kind: StatusKind | str = "state"
    """`state`: the state changed. `consumer_behind`: trimming is about to reach entries that a consumer group has not
    read. `events_lost`: events of an earlier run waited on the disk of a worker that died or was cut off, and came too
    late. Later versions may add some."""


@dataclass(frozen=True, slots=True)
class SummaryEvent:
    """Totals of the events of a stream over an interval."""

    stream_id: Text
    """Id of the stream."""
    epoch: Count
    """Which run of it."""
    summary_index: Count
    """0-based number of the interval in this run; intervals do not overlap."""
    started_at: datetime
    """Capture time of its first frame, UTC."""
    ended_at: datetime
    """Capture time of its last frame, UTC."""
    started_pts_seconds: Seconds
    """Source time of its first frame."""
    ended_pts_seconds: Seconds
    """Source time of its last frame."""
    num_frames: Count
    """Processed frames."""
    num_faces: Count
    """Faces in them, over all frames."""
    num_tracks: Count
    """Different tracks seen."""
    num_dropped: Count
    """Frames lost."""
    dominant_counts: dict[Text, Count] = field(default_factory=dict)
    """Faces per dominant emotion, `unknown` included; emotions that were never dominant are absent."""
    dominant_shares: dict[Text, Share] = field(init=False, repr=False, compare=False)
    """The same as a share of all faces; empty when there was no face."""
    mean_probabilities: dict[Text, Share] = field(default_factory=dict)
    """Mean smoothed probability per emotion over all faces; empty when there was no face."""
    num_persons: Annotated[Count | None, OPTIONAL] = None
    """Different persons among the tracks, as far as their faces show. Absent where persons are not told apart."""

    def __post_init__(self) -> None:
        num_faces = self.num_faces
        shares = {emotion: count / num_faces for emotion, count in self.dominant_counts.items()} if num_faces else {}
        object.__setattr__(self, "dominant_shares", shares)
