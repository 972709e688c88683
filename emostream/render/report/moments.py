"""Key moments: for each person and emotion the frame that shows it most plainly, with a small picture where wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion
from emostream.domain.frame import Frame

# A moment is replaced only by one that is clearer by this much: making a picture costs several milliseconds.
_MIN_GAIN = 0.05
_BONUS_WITHOUT_FLAGS = 1.0  # a frame without quality flags beats every one that has some
_MAX_PERSONS = 200  # pictures are kept for the first ones; a crowd must not fill the memory

PictureOf = Callable[[Frame, EmotionEvent, FaceEmotion], bytes]
"""Makes a JPEG of a face."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of one person.

    Attributes:
        track_id: who.
        emotion: the dominant one.
        pts_seconds: when, in source time.
        confidence: of the dominant emotion, 0…1.
        quality: flags raised for this frame.
        jpeg: the face; None where no pictures are wanted.
    """

    track_id: int
    emotion: str
    pts_seconds: float
    confidence: float
    quality: tuple[str, ...]
    jpeg: bytes | None

    @property
    def clearness(self) -> float:
        """What moments are compared by."""
        return _clearness(self.confidence, self.quality)


class KeyMoments:
    """Collects moments while a stream is analysed.

    Args:
        picture_of: makes the pictures; None makes none.
    """

    def __init__(self, picture_of: PictureOf | None) -> None:
        self._picture_of = picture_of
        self._best: dict[int, dict[str, Moment]] = {}

    def add(self, frame: Frame, event: EmotionEvent) -> None:
        """Look at the faces of a frame."""
        for face in event.faces:
            track_id = face.face.track_id
            if track_id is None or face.dominant == UNKNOWN:
                continue
            known = self._best.get(track_id)
            if known is None:
                if len(self._best) >= _MAX_PERSONS:
                    continue
                known = self._best[track_id] = {}
            best = known.get(face.dominant)
            if best is None or _clearness(face.confidence, face.quality) > best.clearness + _MIN_GAIN:
                jpeg = None if self._picture_of is None else self._picture_of(frame, event, face)
                known[face.dominant] = Moment(
                    track_id, face.dominant, event.pts_seconds, face.confidence, tuple(face.quality), jpeg
                )

    def of(self, track_id: int) -> Mapping[str, Moment]:
        """Emotion → the moment that shows it most plainly."""
        return self._best.get(track_id, {})


def _clearness(confidence: float, quality: tuple[str, ...]) -> float:
    return confidence + (0.0 if quality else _BONUS_WITHOUT_FLAGS)
