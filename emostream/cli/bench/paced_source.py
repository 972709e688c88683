"""Plays a clip like a live camera: in real time, in a loop, for a given time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from emostream.config import DecodeSettings
from emostream.decode.open_source import open_source
from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec


class PacedSource:
    """A live `FrameSource` that plays a file.

    A frame is decoded when it is due and carries the due time as `captured_at`. So the latency measured from it
    includes waiting for a core and decoding, as with a camera.

    Args:
        spec: the file; treated as live.
        settings: decoder settings.
        fps: frames per second of wall time.
        num_frames: number of frames after which the source ends.
        starts_at: monotonic time of the first frame.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        settings: DecodeSettings,
        fps: float,
        num_frames: int,
        starts_at: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # One thread per stream, as for a camera, because many streams share the cores.
        self._file = replace(spec, kind=StreamKind.FILE)
        self._settings = settings.model_copy(update={"num_threads": 1})
        self._fps = fps
        self._num_frames = num_frames
        self._starts_at = starts_at
        self._clock = clock
        self._closed = threading.Event()
        self._stats = DecodeStats()
        self._info: SourceInfo | None = None

    @property
    def kind(self) -> StreamKind:
        """Live."""
        return StreamKind.LIVE

    @property
    def info(self) -> SourceInfo:
        """Properties of the file."""
        if self._info is None:
            raise RuntimeError("expected an open source: use it in a `with` statement")
        return self._info

    @property
    def stats(self) -> DecodeStats:
        """Counters over all loops so far."""
        return self._stats

    def __enter__(self) -> Self:
        """Open the file to read its properties."""
        with open_source(self._file, settings=self._settings) as source:
            self._info = replace(source.info, declared_fps=self._fps, num_frames=None)
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Yield each frame when it is due."""
        frame_index = 0
        while True:
            decoded_seconds = self._stats.decode_seconds
            with open_source(self._file, settings=self._settings) as source:
                frames = iter(source)
                while self._wait_until_due(frame_index):
                    frame = next(frames, None)
                    if frame is None:
                        break
                    self._stats.num_decoded += 1
                    self._stats.decode_seconds = decoded_seconds + source.stats.decode_seconds
                    yield self._as_live(frame, frame_index)
                    frame_index += 1
                else:
                    return

    def close(self) -> None:
        """End the iteration."""
        self._closed.set()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _wait_until_due(self, frame_index: int) -> bool:
        """Wait for the frame's due time. Returns False when the source ended or was closed."""
        if frame_index >= self._num_frames:
            return False
        return not self._closed.wait(max(0.0, self._due_at(frame_index) - self._clock()))

    def _due_at(self, frame_index: int) -> float:
        return self._starts_at + frame_index / self._fps

    def _as_live(self, frame: Frame, frame_index: int) -> Frame:
        late = timedelta(seconds=max(0.0, self._clock() - self._due_at(frame_index)))
        return replace(
            frame, frame_index=frame_index, pts_seconds=frame_index / self._fps, captured_at=datetime.now(UTC) - late
        )
