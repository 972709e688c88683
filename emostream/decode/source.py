"""The role of a source: it yields the frames of one stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says of itself after opening.

    Attributes:
        width, height: pixels as they are stored, upright (after rotation).
        codec: FFmpeg's name of the codec.
        decoder: what really decodes, for example "h264" or "h264 (cuda)".
        declared_fps: frame rate the container declares; None when it says nothing usable.
        duration_seconds: None when unknown (live, damaged index).
        num_frames: estimate from the container for progress bars; None when unknown.
        has_audio: whether there is an audio track as well.
        zero_seconds: the container's time that is time 0 of the frames of a file; None when unknown.
        pixel_aspect: width of a stored pixel over its height, upright, as the stream or else the source says; frames
            are stretched by it.
        is_polled: it gives one picture per request, which is asked for as often as the stream's `target_fps` says.
        notice: what people should know of it, in one sentence: that there are several videos and which one is read, or
            that its time stamps are not believed.
    """

    width: int
    height: int
    codec: str
    decoder: str
    declared_fps: float | None = None
    duration_seconds: float | None = None
    num_frames: int | None = None
    has_audio: bool = False
    zero_seconds: float | None = None
    pixel_aspect: float = 1.0
    is_polled: bool = False
    notice: str = ""


@dataclass(slots=True)
class DecodeStats:
    """Counters of a running source; the metrics collector reads them.

    Attributes:
        num_packets: complete packets of the video read from the source.
        num_decoded: pictures that came out of the decoder.
        num_skipped: pictures left out by sampling.
        num_corrupt: packets that could not be decoded, and pictures that came out damaged (these are
            yielded) or are missing because segments of a playlist could not be read.
        num_clock_faults: how often time stamps ran at another pace than the pictures arrived, and were given up.
        decode_seconds: time spent inside the decoder.
        source_delay_seconds: how long after its time by the source's own clock the newest picture came out: network,
            buffers, and the difference of the clocks. None where the source does not say (RTCP of RTSP does, after a
            few seconds).
    """

    num_packets: int = 0
    num_decoded: int = 0
    num_skipped: int = 0
    num_corrupt: int = 0
    num_clock_faults: int = 0
    decode_seconds: float = field(default=0.0)
    source_delay_seconds: float | None = None


class FrameSource(Protocol):
    """Yields the frames of one stream, in order, once.

    The pipeline opens it (`with source:`), iterates in a thread of its own and closes it; `close` is guaranteed and may
    be called from another thread to end a blocked iteration. Iteration may block for as long as the source's read
    time-out. The end of iteration is the clean end of the source. Anything else is raised: a `SourceError` whose
    `retryable` says whether opening again makes sense. Frames already yielded stay valid after an error.
    """

    @property
    def kind(self) -> StreamKind:
        """Live or file; decides what happens when the consumer is slow."""
        ...

    @property
    def info(self) -> SourceInfo:
        """Available once opened."""
        ...

    @property
    def stats(self) -> DecodeStats:
        """Counters so far."""
        ...

    def __enter__(self) -> Self:
        """Open the source; raises `SourceError`."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Decode and yield; raises `SourceError`."""
        ...

    def close(self) -> None:
        """Release everything. Safe to call twice and from another thread."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        ...
