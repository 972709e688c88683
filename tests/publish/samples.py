"""Events for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion, StatusEvent
from emostream.domain.face import Face
from emostream.domain.stream import StreamState
from emostream.domain.voice import VoiceEvent, VoiceWindow

# Rounded as the wire rounds, so that what is read back is equal.
HAPPY = EmotionScores(EMOTIONS, (0.0123, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0877))
EPOCH = 1_700_000_000_123
CAPTURED_AT = datetime(2026, 11, 23, 10, 30, 0, 5, tzinfo=UTC)

EVENT = EmotionEvent(
    stream_id="door",
    epoch=EPOCH,
    frame_index=0,
    pts_seconds=0.28,
    captured_at=CAPTURED_AT,
    frame_width=640,
    frame_height=360,
    model_name="emostream-cnn",
    model_version="1",
    faces=(
        FaceEmotion(
            face=Face((10.0, 20.0, 60.1, 80.0), 0.9877, ((1.0, 2.0),) * 5, track_id=3, found_by="flow"),
            scores=HAPPY,
            smoothed=HAPPY,
            quality=("small",),
        ),
    ),
    latency_ms={"decode": 1.1},
)

STATUS = StatusEvent("door", EPOCH, StreamState.ENDED, datetime(2026, 11, 23, tzinfo=UTC), "end of file", 72)


VOICE = VoiceEvent(
    stream_id="door",
    epoch=EPOCH,
    window=VoiceWindow(
        window_index=0,
        started_pts_seconds=0.0,
        ended_pts_seconds=1.0,
        speech_share=0.75,
        loudness_lufs=-23.5,
        pitch_hz=120.0,
        pause_seconds=0.0,
        arousal=0.25,
    ),
    captured_at=CAPTURED_AT,
    model_name="voice-arousal",
    model_version="1",
)


def events_of(
    stream_id: str, indexes: Iterable[int], *, epoch: int = EPOCH, seconds_per_frame: float = 0.04
) -> list[EmotionEvent]:
    """Events of one stream, their capture times as far apart as frames are."""
    return [
        replace(
            EVENT,
            stream_id=stream_id,
            epoch=epoch,
            frame_index=index,
            captured_at=CAPTURED_AT + timedelta(seconds=index * seconds_per_frame),
        )
        for index in indexes
    ]
