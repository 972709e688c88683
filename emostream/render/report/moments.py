"""Selects key moments: the clearest frame of each person and emotion, optionally with a thumbnail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion
from emostream.domain.frame import Frame

# A moment is replaced only by one that is clearer by this much, because a thumbnail takes several milliseconds.
_MIN_GAIN = 0.05
_BONUS_WITHOUT_FLAGS = 1.0  # a frame without quality flags beats every flagged one
_MAX_PERSONS = 200  # limits memory in a crowd; then people who were seen briefly are forgotten
_NUM_KEPT = 50  # of these, those seen longest are never forgotten

PictureOf = Callable[[Frame, EmotionEvent, FaceEmotion], bytes]
"""Makes a JPEG of a face."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of one person.

    Attributes:
        track_id: the person's track.
        emotion: the dominant emotion.
        pts_seconds: time in the source.
        confidence: of the dominant emotion, 0…1.
        quality: quality flags of this frame.
        jpeg: thumbnail of the face; None without pictures.
    """

    track_id: int
    emotion: str
    pts_seconds: float
    confidence: float
    quality: tuple[str, ...]
    jpeg: bytes | None

    @property
    def clearness(self) -> float:
        """The value by which moments are compared."""
        return _clearness(self.confidence, self.quality)


class KeyMoments:
    """Collects key moments while a stream is analysed.

    Args:
        picture_of: makes thumbnails; None makes none.
    """

    def __init__(self, picture_of: PictureOf | None) -> None:
        self._picture_of = picture_of
        self._best: dict[int, dict[str, Moment]] = {}
        self._num_frames: Counter[int] = Counter()
        self._ordinals: dict[int, int] = {}  # how many people came before
        self._num_seen = 0
        self._spacing = 1  # of the ordinals of people seen briefly

    def add(self, frame: Frame, event: EmotionEvent) -> None:
        """Consider the faces of a frame."""
        for face in event.faces:
            track_id = face.face.track_id
            if track_id is None or face.dominant == UNKNOWN:
                continue
            known = self._best.get(track_id)
            if known is None:
                if len(self._best) >= _MAX_PERSONS:
                    self._forget_brief(present={each.face.track_id for each in event.faces})
                if len(self._best) >= _MAX_PERSONS:
                    continue
                known = self._best[track_id] = {}
                self._ordinals[track_id] = self._num_seen
                self._num_seen += 1
            self._num_frames[track_id] += 1
            best = known.get(face.dominant)
            if best is None or _clearness(face.confidence, face.quality) > best.clearness + _MIN_GAIN:
                jpeg = None if self._picture_of is None else self._picture_of(frame, event, face)
                known[face.dominant] = Moment(
                    track_id, face.dominant, event.pts_seconds, face.confidence, tuple(face.quality), jpeg
                )

    def _forget_brief(self, *, present: Set[int | None]) -> None:
        """Forget some of those seen briefly, evenly over the run, so that each part of it keeps some of its people."""
        longest = {track_id for track_id, _ in self._num_frames.most_common(_NUM_KEPT)}
        brief = [track_id for track_id in self._best if track_id not in present and track_id not in longest]
        while 4 * len(forgotten := self._between(brief)) < len(brief) > 1:
            self._spacing *= 2
        for track_id in forgotten:
            del self._best[track_id], self._num_frames[track_id], self._ordinals[track_id]

    def _between(self, people: Sequence[int]) -> list[int]:
        """Those who came nearer than the spacing after one who stays."""
        found, last = [], -self._spacing
        for track_id in people:
            if self._ordinals[track_id] < last + self._spacing:
                found.append(track_id)
            else:
                last = self._ordinals[track_id]
        return found

    def of(self, track_id: int) -> Mapping[str, Moment]:
        """Emotion → its clearest moment, for one person."""
        return self._best.get(track_id, {})


def _clearness(confidence: float, quality: tuple[str, ...]) -> float:
    return confidence + (0.0 if quality else _BONUS_WITHOUT_FLAGS)
