"""What consumers receive: one event for each processed frame, and one for each change in a stream's life.

How an event looks on the wire is not decided here but in `publish/wire.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from emostream.emotion import EmotionScores
from emostream.face import Face
from emostream.stream import StreamState

QualityFlag = Literal["small", "blurred", "dark", "profile"]
"""Why the scores of a face deserve less trust."""


@dataclass(frozen=True, slots=True)
class FaceEmotion:
    """A followed face and what its expression looks like.

    Attributes:
        face: where it is; `track_id` is set.
        scores: what the model said of this frame alone.
        smoothed: the same over the recent past of this track; `dominant` and `confidence` come from it.
        quality: flags raised by measurements on this frame.
    """

    face: Face
    scores: EmotionScores
    smoothed: EmotionScores
    quality: tuple[QualityFlag, ...] = ()

    @property
    def dominant(self) -> str:
        """The most probable emotion after smoothing."""
        return self.smoothed.dominant

    @property
    def confidence(self) -> float:
        """Its smoothed probability, 0…1."""
        return self.smoothed.confidence


@dataclass(frozen=True, slots=True)
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

    def __post_init__(self) -> None:
        if self.captured_at.tzinfo is None:
            raise ValueError("expected an aware captured_at (UTC), got a naive datetime")
        if self.frame_index < 0 or self.epoch < 0 or self.num_dropped < 0:
            raise ValueError("expected frame_index, epoch and num_dropped ≥ 0")


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
    """

    stream_id: str
    epoch: int
    state: StreamState
    at: datetime
    detail: str = ""
    num_events: int = 0
