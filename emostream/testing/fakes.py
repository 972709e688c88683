"""Fakes for tests of this package and of plugins: sources, detectors, engines, sinks, clock.

They are small but complete implementations of the interfaces. They need no model, file or network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.emotion import EMOTIONS
from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.domain.model_manifest import ModelManifest
from emostream.domain.stream import StreamKind
from emostream.domain.voice import VoiceEvent
from emostream.errors import SourceError

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The start time of tests."""


class FakeClock:
    """A wall clock that is advanced manually: `now=FakeClock()`."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def __call__(self) -> datetime:
        """The current time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the clock; a negative number sets it back."""
        self._now += timedelta(seconds=seconds)


def gray_frames(
    num_frames: int, *, stream_id: str = "test", width: int = 64, height: int = 48, fps: float = 25.0
) -> list[Frame]:
    """Frames of a single gray value each: 7·i modulo 256 for frame i."""
    return [
        Frame(
            stream_id=stream_id,
            frame_index=index,
            pts_seconds=index / fps,
            captured_at=START + timedelta(seconds=index / fps),
            luma=np.full((height, width), 7 * index % 256, dtype=np.uint8),
        )
        for index in range(num_frames)
    ]


class ScriptedSource:
    """A source that yields given frames, then ends or fails.

    Args:
        frames: in order.
        error: raised after the last frame; None ends normally.
        open_error: raised on opening.
        kind: live or file.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        *,
        error: SourceError | None = None,
        open_error: SourceError | None = None,
        kind: StreamKind = StreamKind.FILE,
    ) -> None:
        self._frames = list(frames)
        self._error = error
        self._open_error = open_error
        self._kind = kind
        self._stats = DecodeStats()
        self.is_closed = False

    @property
    def kind(self) -> StreamKind:
        """Live or file."""
        return self._kind

    @property
    def info(self) -> SourceInfo:
        """Properties of the first frame."""
        width, height = (self._frames[0].stored_width, self._frames[0].stored_height) if self._frames else (0, 0)
        return SourceInfo(width=width, height=height, codec="script", decoder="script", num_frames=len(self._frames))

    @property
    def stats(self) -> DecodeStats:
        """Counts the frames yielded."""
        return self._stats

    def __enter__(self) -> Self:
        """Raise `open_error`, if there is one."""
        if self._open_error is not None:
            raise self._open_error
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames until the end or until closed."""
        for frame in self._frames:
            if self.is_closed:
                return
            self._stats.num_decoded += 1
            yield frame
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the iteration."""
        self.is_closed = True

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


class ScriptedDetector:
    """A detector that returns the n-th list of faces for the n-th picture, and the last list for all further ones.

    Args:
        script: faces per picture; an empty list means no faces at all.
    """

    name = "script"

    def __init__(self, script: Sequence[Sequence[Face]]) -> None:
        self._script = [list(faces) for faces in script] or [[]]
        self.num_pictures = 0

    def detect(self, luma: Luma) -> list[Face]:
        """Return the next faces of the script, best score first."""
        faces = self._script[min(self.num_pictures, len(self._script) - 1)]
        self.num_pictures += 1
        return sorted(faces, key=lambda face: -face.score)


def face_at(x: float, y: float, *, size: float = 40.0, score: float = 0.9) -> Face:
    """An upright face in a square box with its top left corner at (x, y), with plausible landmarks."""
    places = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    return Face(
        box_xyxy=(x, y, x + size, y + size),
        score=score,
        landmarks=tuple((x + size * across, y + size * down) for across, down in places),
    )


class ConstantClassifier:
    """A classifier that returns the same probabilities for every crop.

    Args:
        probabilities: one per label; None means 0.7 for "happy" and 0.05 for each other emotion.
        labels: class names.
        input_size_pixels: side of crops in its manifest.
    """

    def __init__(
        self,
        probabilities: Sequence[float] | None = None,
        *,
        labels: Sequence[str] = EMOTIONS,
        input_size_pixels: int = 64,
    ) -> None:
        if probabilities is None:
            probabilities = [0.7 if label == "happy" else 0.3 / (len(labels) - 1) for label in labels]
        self._row = np.asarray(probabilities, dtype=np.float32)
        self.num_crops = 0
        self.is_closed = False
        self.wanted_batch_size = 1
        self.manifest = ModelManifest(
            name="constant",
            version="1",
            file="none",
            sha256="0" * 64,
            labels=tuple(labels),
            input_size_pixels=input_size_pixels,
            max_batch_size=32,
            architecture="constant",
            training_data="none",
            licence="Apache-2.0",
        )

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """One row per crop."""
        self.num_crops += len(crops)
        return np.tile(self._row, (len(crops), 1))

    def close(self) -> None:
        """Set `is_closed`."""
        self.is_closed = True


@dataclass(slots=True)
class CollectingSink:
    """A sink that keeps all events.

    Attributes:
        events: emotion events, in order.
        statuses: status events, in order.
        summaries: summary events, in order.
        voices: voice events, in order.
        is_closed: whether `close` was called.
        failures: exceptions for the next calls of `publish`, one per call, raised before anything is kept.
    """

    events: list[EmotionEvent] = field(default_factory=list)
    statuses: list[StatusEvent] = field(default_factory=list)
    summaries: list[SummaryEvent] = field(default_factory=list)
    voices: list[VoiceEvent] = field(default_factory=list)
    is_closed: bool = False
    failures: list[Exception] = field(default_factory=list)

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Keep the events, or raise the next failure."""
        if self.failures:
            raise self.failures.pop(0)
        self.events.extend(events)

    async def publish_status(self, event: StatusEvent) -> None:
        """Keep the event."""
        self.statuses.append(event)

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Keep the event."""
        self.summaries.append(event)

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Keep the event."""
        self.voices.append(event)

    async def close(self) -> None:
        """Set `is_closed`."""
        self.is_closed = True
