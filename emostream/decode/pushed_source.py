"""A live source of frames that the program itself has, one put in after the other."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from emostream.decode.source import DecodeStats, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind


class PushedSource:
    """A `FrameSource` of what is put in. It ends when it is closed; frames put in before that are still given.

    It keeps no count of what waits: who puts frames in waits for the pipeline, or lets it drop the oldest.

    Args:
        codec: what the frames are made from, for people.
    """

    def __init__(self, *, codec: str = "array") -> None:
        self._codec = codec
        # Also put to by a garbage collector, which may interrupt another `put` of the same thread.
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._size = (0, 0)
        self._stats = DecodeStats()

    @property
    def kind(self) -> StreamKind:
        """Live: the end is unknown."""
        return StreamKind.LIVE

    @property
    def info(self) -> SourceInfo:
        """The size is that of the newest frame; 0×0 before the first."""
        width, height = self._size
        return SourceInfo(width, height, codec=self._codec, decoder=self._codec)

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        return self._stats

    def put(self, frame: Frame) -> None:
        """Hand over the next frame. Does not block; callable from any thread."""
        self._stats.num_packets += 1
        self._stats.num_decoded += 1
        self._size = frame.stored_width, frame.stored_height
        self._frames.put(frame)

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Yield what is put in, waiting for it, until the source is closed."""
        while (frame := self._frames.get()) is not None:
            yield frame

    def close(self) -> None:
        """End the iteration after what was put in. Safe to call twice and from any thread."""
        self._frames.put(None)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
