"""Events of made-up people for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from emostream.domain.emotion import EMOTIONS, EmotionScores
from emostream.domain.event import EmotionEvent, FaceEmotion
from emostream.domain.face import Face
from emostream.domain.frame import Frame
from emostream.testing.fakes import face_at

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def scores(emotion: str, probability: float = 0.94) -> EmotionScores:
    """Most for one emotion, the rest shared by the others."""
    rest = (1 - probability) / (len(EMOTIONS) - 1)
    return EmotionScores(EMOTIONS, tuple(probability if name == emotion else rest for name in EMOTIONS))


def face_of(track_id: int, emotion: str, *, probability: float = 0.94, quality: Sequence[str] = ()) -> FaceEmotion:
    """A face of a person that shows one emotion."""
    at = face_at(20.0 + 10 * track_id, 20.0)
    face = Face(at.box_xyxy, at.score, at.landmarks, track_id=track_id)
    said = scores(emotion, probability)
    return FaceEmotion(face, said, said, quality=tuple(quality))


def event_of(index: int, *faces: FaceEmotion, fps: float = 25.0, num_dropped: int = 0) -> EmotionEvent:
    """The event of a frame."""
    return EmotionEvent(
        "clip", 1, index, index / fps, NOW, 320, 240, "model", "1", faces=tuple(faces), num_dropped=num_dropped
    )


def frame_of(event: EmotionEvent) -> Frame:
    """A gray frame."""
    return Frame("clip", event.frame_index, event.pts_seconds, NOW, np.full((240, 320), 90, np.uint8))


def acted(script: Iterable[str | None], *, fps: float = 25.0) -> list[EmotionEvent]:
    """One person who shows these emotions, frame by frame; None is away."""
    return [
        event_of(index, *([] if emotion is None else [face_of(0, emotion)]), fps=fps)
        for index, emotion in enumerate(script)
    ]
