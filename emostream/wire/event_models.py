"""Pure: the shape of events outside the process, as models that check what comes in and from which the schema is made.

The docstring of a field is its documentation in the JSON Schema (`schema.py`).
"""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from emostream.domain.emotion import EmotionScores
from emostream.domain.event import (
    MAX_NAME_LENGTH,
    EmotionEvent,
    FaceEmotion,
    QualityFlag,
    StatusEvent,
    StatusKind,
    SummaryEvent,
)
from emostream.domain.face import NUM_LANDMARKS, Face
from emostream.domain.stream import StreamState

MAX_EXACT_INTEGER = 1 << 53
"""JavaScript, Lua and other readers hold numbers as doubles: integers from here on are not exact."""

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Probability = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0, lt=MAX_EXACT_INTEGER)]
_Text = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]
# Open lists: a later version may add values, and a reader of this one must not refuse its events.
_Flag = Annotated[str, Field(max_length=64, examples=list(get_args(QualityFlag)))]
_Kind = Annotated[str, Field(max_length=64, examples=list(get_args(StatusKind)))]
_Point = tuple[_Finite, _Finite]


class _Wire(BaseModel):
    # Strict: a number in quotes is not a number. Unknown names are ignored, so that later versions may add some.
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, use_attribute_docstrings=True)


class FaceWire(_Wire):
    """A followed face and what its expression looks like."""

    track_id: _Count | None
    """One face, followed through this stream and epoch, over missed and bad pictures and gaps; a number that ended is
    never used again. Who comes back later gets a new one. Null when faces are not followed."""
    box_xyxy: tuple[_Finite, _Finite, _Finite, _Finite]
    """Left, top, right, bottom in pixels of the frame; may reach over its border."""
    # Either five or none (then the name is absent from the entry); `Face` checks the number.
    landmarks: Annotated[
        tuple[_Point, ...], Field(max_length=NUM_LANDMARKS, json_schema_extra={"minItems": NUM_LANDMARKS})
    ] = ()
    """Left eye, right eye, nose tip, left and right corner of the mouth as seen in the picture, x and y in pixels.
    Absent when the stream publishes no landmarks."""
    score: _Finite
    """The detector's confidence that this is a face, 0 to 1; a followed face keeps that of its last detection."""
    found_by: Literal["detector", "flow"]
    """Whether this frame was searched, or the face was followed from an earlier one."""
    probabilities: dict[_Text, _Finite]
    """What the model says of this frame alone: a probability per emotion, in the order of the model; they sum to 1."""
    smoothed_probabilities: dict[_Text, _Finite]
    """The same over the recent past of this track."""
    dominant: _Text
    """The emotion this face is said to show, chosen so that it does not flicker: a name of `smoothed_probabilities`,
    or `unknown` where the picture of the face is too bad to name one."""
    confidence: _Probability
    """The smoothed probability of the dominant emotion; 0 when it is unknown."""
    quality: Annotated[tuple[_Flag, ...], Field(max_length=64)]
    """Why the scores deserve less trust; empty when nothing is wrong. Later versions may add some."""
    zones: Annotated[tuple[_Text, ...], Field(max_length=64)]
    """Names of the zones of the stream that the middle of the face is in."""

    def to_domain(self) -> FaceEmotion:
        """The face of the event."""
        return FaceEmotion(
            face=Face(
                box_xyxy=self.box_xyxy,
                score=self.score,
                landmarks=self.landmarks,
                track_id=self.track_id,
                found_by=self.found_by,
            ),
            scores=_scores(self.probabilities),
            smoothed=_scores(self.smoothed_probabilities),
            quality=self.quality,
            dominant=self.dominant,
            zones=self.zones,
        )


class EventWire(_Wire):
    """All faces of one frame of a stream."""

    schema_version: Literal[1]
    """Grows only when a reader of the old version would misunderstand an event."""
    stream_id: _Text
    """Which stream."""
    epoch: _Count
    """Which run of the stream; later runs have larger ones. With `frame_index` it names a frame for ever."""
    frame_index: _Count
    """0-based position of the frame in its source. Grows; gaps are frames that were not processed or not published."""
    pts_seconds: _Finite
    """Time in the source."""
    captured_at: AwareDatetime
    """When the frame was received, UTC."""
    frame_width: _Count
    """Pixels."""
    frame_height: _Count
    """Pixels."""
    model_name: _Text
    """What classified the faces."""
    model_version: _Text
    """Its version."""
    latency_ms: dict[_Text, _Finite]
    """Milliseconds spent on this frame per stage; `total` is from its reception to publishing."""
    num_dropped: _Count
    """Frames of this stream that were lost since the last event."""
    faces: tuple[FaceWire, ...]
    """In order of track id; empty when nobody is in the picture."""
    classified: bool = True
    """Whether the faces of this frame were classified. `false` says that the machine had too much work: they carry the
    emotions and quality flags of the last frame in which they were. Absent means true."""

    def to_domain(self) -> EmotionEvent:
        """The event."""
        return EmotionEvent(
            stream_id=self.stream_id,
            epoch=self.epoch,
            frame_index=self.frame_index,
            pts_seconds=self.pts_seconds,
            captured_at=self.captured_at.astimezone(UTC),
            frame_width=self.frame_width,
            frame_height=self.frame_height,
            model_name=self.model_name,
            model_version=self.model_version,
            faces=tuple(face.to_domain() for face in self.faces),
            latency_ms=self.latency_ms,
            num_dropped=self.num_dropped,
            is_classified=self.classified,
        )


class StatusWire(_Wire):
    """A change in the life of a stream, or a warning about it."""

    schema_version: Literal[1]
    """As in an emotion event."""
    stream_id: _Text
    """Which stream."""
    epoch: _Count
    """Which run of it."""
    state: StreamState
    """The state it is in now."""
    at: AwareDatetime
    """When it changed, UTC."""
    detail: Annotated[str, Field(max_length=10_000)]
    """One sentence for people, without credentials; empty when there is nothing to say."""
    num_events: _Count
    """Emotion events published so far in this epoch; 0 in a warning."""
    kind: _Kind
    """`state`: the state changed. `consumer_behind`: trimming is about to reach entries that a consumer group has not
    read. Later versions may add some."""

    def to_domain(self) -> StatusEvent:
        """The status event."""
        return StatusEvent(
            stream_id=self.stream_id,
            epoch=self.epoch,
            state=self.state,
            at=self.at.astimezone(UTC),
            detail=self.detail,
            num_events=self.num_events,
            kind=self.kind,
        )


class SummaryWire(_Wire):
    """What the events of a stream said over an interval."""

    schema_version: Literal[1]
    """As in an emotion event."""
    stream_id: _Text
    """Which stream."""
    epoch: _Count
    """Which run of it."""
    summary_index: _Count
    """0-based number of the interval in this run; intervals do not overlap."""
    started_at: AwareDatetime
    """Capture time of its first frame, UTC."""
    ended_at: AwareDatetime
    """Capture time of its last frame, UTC."""
    started_pts_seconds: _Finite
    """Source time of its first frame."""
    ended_pts_seconds: _Finite
    """Source time of its last frame."""
    num_frames: _Count
    """Processed frames."""
    num_faces: _Count
    """Faces in them, over all frames."""
    num_tracks: _Count
    """Different people seen."""
    num_dropped: _Count
    """Frames lost."""
    dominant_counts: dict[_Text, _Count]
    """Faces per dominant emotion, `unknown` included; emotions that were never dominant are absent."""
    dominant_shares: dict[_Text, _Probability]
    """The same as a share of all faces; empty when there was no face."""
    mean_probabilities: dict[_Text, _Probability]
    """Mean smoothed probability per emotion over all faces; empty when there was no face."""

    def to_domain(self) -> SummaryEvent:
        """The summary event."""
        return SummaryEvent(
            stream_id=self.stream_id,
            epoch=self.epoch,
            summary_index=self.summary_index,
            started_at=self.started_at.astimezone(UTC),
            ended_at=self.ended_at.astimezone(UTC),
            started_pts_seconds=self.started_pts_seconds,
            ended_pts_seconds=self.ended_pts_seconds,
            num_frames=self.num_frames,
            num_faces=self.num_faces,
            num_tracks=self.num_tracks,
            num_dropped=self.num_dropped,
            dominant_counts=self.dominant_counts,
            mean_probabilities=self.mean_probabilities,
        )


def _scores(by_label: dict[str, float]) -> EmotionScores:
    return EmotionScores(tuple(by_label), tuple(by_label.values()))
