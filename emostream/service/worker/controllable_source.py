"""A source that can be paused, resumed and sampled at another rate while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from emostream.decode.resuming import ResumableSource, ResumePoint
from emostream.decode.sampling import FrameSampler
from emostream.decode.source import DecodeStats, FrameSource, SourceInfo
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec

WARM_UP_SECONDS = 5.0
"""A file is followed for this long before the frame where it goes on: tracks that were lost for longer have ended, and
smoothing has forgotten what it saw before."""


def without_sampling(spec: StreamSpec) -> StreamSpec:
    """The spec for the wrapped source, without sampling, which `ControllableSource` does itself."""
    return replace(spec, every=1, target_fps=None, max_frames=None)


class ControllableSource:
    """Wraps a source and applies the sampling of the spec, which may change at any time.

    While paused, a live source stays connected and its frames are skipped; a file waits at its position.

    Args:
        source: yields all frames; opened and closed by this one.
        spec: its `every` and `target_fps` are applied, and for files its `max_frames`; for live sources the pipeline
            counts the processed frames.
        is_paused: whether to start paused.
        after: the last frame that an earlier run published, None without one. Frames up to it are skipped, but for
            those of the last seconds before it: they are passed on as not to be published, so that tracks, searches and
            smoothing go on as in a run without interruption.
        on_frame: called with each frame that is passed on, in the decoding thread.
        on_first: called once in the decoding thread, when the first frame is decoded, before it is passed on.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        spec: StreamSpec,
        is_paused: bool = False,
        after: ResumePoint | None = None,
        on_frame: Callable[[Frame], None] = lambda frame: None,
        on_first: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._on_first = on_first
        self._on_frame = on_frame
        self._after = after
        self._changed = threading.Condition()
        self._is_closed = False
        self._num_skipped = 0
        self._is_reading = False
        self._num_read = 0
        self._is_paused = is_paused
        self._spec = spec
        self._sampler = FrameSampler(every=spec.every, target_fps=spec.target_fps)
        # What a limit counts is known only from the beginning.
        if after is not None and spec.max_frames is None and isinstance(source, ResumableSource):
            source.resume_near(after, warm_up_seconds=WARM_UP_SECONDS)

    @property
    def kind(self) -> StreamKind:
        """The kind of the wrapped source."""
        return self._source.kind

    @property
    def info(self) -> SourceInfo:
        """Properties of the wrapped source."""
        return self._source.info

    @property
    def stats(self) -> DecodeStats:
        """Counters of the wrapped source, including the frames skipped here."""
        stats = self._source.stats
        return replace(stats, num_skipped=stats.num_skipped + self._num_skipped)

    @property
    def reading(self) -> tuple[int, int] | None:
        """How far a call into the wrapped source has come (frames and packets); None while none is in progress."""
        return (self._num_read, self._source.stats.num_packets) if self._is_reading else None

    def adjust(self, spec: StreamSpec, *, is_paused: bool) -> None:
        """Change sampling or pause from the next frame on. May be called from any thread."""
        with self._changed:
            if (spec.every, spec.target_fps) != (self._spec.every, self._spec.target_fps):
                self._sampler = FrameSampler(every=spec.every, target_fps=spec.target_fps)
            self._spec = spec
            self._is_paused = is_paused
            self._changed.notify_all()

    def __enter__(self) -> Self:
        """Open the wrapped source. Raises `SourceError`."""
        self._is_reading = True
        try:
            self._source.__enter__()
        finally:
            self._is_reading = False
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the wrapped source, and stop waiting. Safe to call twice and from any thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames; runs in the decoding thread, once."""
        num_kept = 0
        is_first = True
        for frame in self._read():
            if is_first:
                is_first = False
                self._sampler.skip(frame.frame_index)
                self._on_first()
            if not self._lets_through(frame):
                self._num_skipped += 1
                continue
            if self._is_closed or self._is_enough(num_kept):
                return
            num_kept += 1
            if self._after is None or frame.frame_index > self._after.frame_index:
                self._on_frame(frame)
                yield frame
            elif frame.pts_seconds >= self._after.pts_seconds - WARM_UP_SECONDS:
                yield replace(frame, is_published=False)
            if self._is_enough(num_kept):
                return

    def _read(self) -> Iterator[Frame]:
        frames = iter(self._source)
        while True:
            self._is_reading = True
            try:
                frame = next(frames, None)
            finally:
                self._is_reading = False
            if frame is None:
                return
            self._num_read += 1
            yield frame

    def _is_enough(self, num_kept: int) -> bool:
        """Whether a file ends here; its limit may have been lowered below what was processed already."""
        max_frames = self._spec.max_frames
        return max_frames is not None and num_kept >= max_frames and self._source.kind is StreamKind.FILE

    def _lets_through(self, frame: Frame) -> bool:
        with self._changed:
            if self._is_paused and self._source.kind is StreamKind.LIVE:
                return False
            self._changed.wait_for(lambda: not self._is_paused or self._is_closed)
            return self._sampler.keep(frame.pts_seconds)
