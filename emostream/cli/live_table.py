"""A table of the sources that are being read, redrawn meanwhile: who shows what now, how fast, how much is left."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.table import Table

from emostream.cli.options import notes
from emostream.cli.tables import as_markup, coloured, new_table
from emostream.config import Settings
from emostream.decode.source import FrameSource
from emostream.domain.event import EmotionEvent
from emostream.domain.frame import Frame
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.pipeline.pipeline import EventObserver

_MAX_ROWS = 20
_MAX_FACES = 4
_FIGURES = ("frames", "left", "fps", "ms", "elapsed", "dropped")
_MIN_NOW_WIDTH = 12
_PADDING = 2
_RATE_SECONDS = 3.0
"""Over which frames per second and the latency are taken."""
_REFRESHES_PER_SECOND = 4


@dataclass(slots=True)
class Reading:
    """A source that is being read. A worker thread adds events while another thread shows it.

    Attributes:
        started: moment in seconds, on any clock that only grows.
        total: number of frames that there will be; None where it is unknown.
        num_frames: done.
        num_dropped: frames lost because processing was too slow.
        last: the latest event.
    """

    started: float
    total: float | None = None
    num_frames: int = 0
    num_dropped: int = 0
    last: EmotionEvent | None = None
    _recent: deque[tuple[float, float | None]] = field(default_factory=deque)

    def add(self, event: EmotionEvent, *, now: float) -> None:
        """Take the next event."""
        self.num_frames += 1
        self.num_dropped += event.num_dropped
        self.last = event
        self._recent.append((now, event.latency_ms.get("total")))
        while self._recent[0][0] < now - _RATE_SECONDS:
            self._recent.popleft()

    def fps(self, *, now: float) -> float | None:
        """Frames per second of late; None before there are enough to tell."""
        seconds = min(now - self.started, _RATE_SECONDS)
        num_recent = sum(at >= now - _RATE_SECONDS for at, _ in tuple(self._recent))
        return num_recent / seconds if num_recent and seconds > 0 else None

    def latency_ms(self) -> float | None:
        """Mean time from the reception of a frame to its event, of late."""
        known = [latency for _, latency in tuple(self._recent) if latency is not None]
        return sum(known) / len(known) if known else None

    def left_seconds(self, *, now: float) -> float | None:
        """Time to its end at the mean speed so far; None where that is not known."""
        if self.total is None or not self.num_frames:
            return None
        return max(self.total - self.num_frames, 0) * (now - self.started) / self.num_frames


class LiveTable:
    """An observer of runs that shows those that are going on.

    Args:
        num_sources: of the whole run; files wait for each other.
    """

    def __init__(self, *, num_sources: int) -> None:
        self._num_sources = num_sources
        self._num_over = 0
        self._readings: dict[str, Reading] = {}
        self.refresh: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def observing(self, spec: StreamSpec, source: FrameSource, *, settings: Settings) -> Iterator[EventObserver]:
        """Around the run of a stream; its length is known once the source is open."""
        reading = self._readings[spec.stream_id] = Reading(time.monotonic())

        def observe(frame: Frame, event: EmotionEvent) -> None:
            if reading.last is None:
                reading.total = expected_frames(spec, source)
            reading.add(event, now=time.monotonic())

        try:
            yield observe
        finally:
            self.refresh()  # its last state
            del self._readings[spec.stream_id]
            self._num_over += 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The table at this moment."""
        yield readings_table(
            dict(self._readings),
            now=time.monotonic(),
            num_over=self._num_over,
            num_sources=self._num_sources,
            width=options.max_width,
        )


def readings_table(readings: dict[str, Reading], *, now: float, num_over: int, num_sources: int, width: int) -> Table:
    """A row per source.

    Args:
        readings: stream id → what is known of it.
        now: on the clock of `Reading.started`.
        num_over: sources that have ended.
        num_sources: all.
        width: columns of the terminal.
    """
    shown = list(readings.items())[:_MAX_ROWS]
    rows = [_figures(reading, now=now) for _, reading in shown]
    taken = sum(max(map(len, column)) + _PADDING for column in zip(_FIGURES, *rows, strict=True))
    longest = max(map(len, ["source", *(stream_id for stream_id, _ in shown)]))
    table = new_table()
    # Ids are folded only where figures and faces would have no room.
    table.add_column("source", overflow="fold", width=max(1, min(longest, width - taken - _MIN_NOW_WIDTH)))
    for name in _FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("now", overflow="fold")
    for (stream_id, reading), figures in zip(shown, rows, strict=True):
        table.add_row(as_markup(stream_id), *figures, _faces(reading.last))
    captions = []
    if len(readings) > _MAX_ROWS:
        captions.append(f"and {len(readings) - _MAX_ROWS} more")
    if num_sources > 1:
        captions.append(f"{num_over} of {num_sources} sources done")
    table.caption = ", ".join(captions) or None
    return table


@contextlib.contextmanager
def live_table(*, num_sources: int, is_shown: bool) -> Iterator[LiveTable]:
    """The table on standard error, where it is to be shown; it goes away at the end."""
    table = LiveTable(num_sources=num_sources)
    if not is_shown:
        yield table
        return
    with Live(table, console=notes, transient=True, refresh_per_second=_REFRESHES_PER_SECOND) as live:
        table.refresh = live.refresh
        yield table


def expected_frames(spec: StreamSpec, source: FrameSource) -> float | None:
    """How many frames of an open source will be processed, as far as its container says."""
    if spec.kind is StreamKind.LIVE:
        return spec.max_frames
    total = source.info.num_frames
    if spec.keyframes:
        total = None  # how many there are is not known before all are read
    if total is not None:
        total = -(-total // spec.every)
        if spec.target_fps is not None and source.info.declared_fps is not None:
            total = round(total * min(1.0, spec.target_fps * spec.every / source.info.declared_fps))
    if spec.max_frames is not None:
        return min(spec.max_frames, total or spec.max_frames)
    return total


def _figures(reading: Reading, *, now: float) -> tuple[str, ...]:
    """The cells of `_FIGURES`."""
    total = "" if reading.total is None else f"/{reading.total:.0f}"
    return (
        f"{reading.num_frames}{total}",
        _time(reading.left_seconds(now=now)),
        _number(reading.fps(now=now)),
        _number(reading.latency_ms()),
        _time(now - reading.started),
        str(reading.num_dropped),
    )


def _faces(event: EmotionEvent | None) -> str:
    if event is None:
        return "[dim]opening[/]"
    shown = [f"#{face.face.track_id} {coloured(face.dominant)} {face.confidence:.0%}" for face in event.faces]
    if len(shown) > _MAX_FACES:
        shown[_MAX_FACES:] = [f"+{len(shown) - _MAX_FACES}"]
    return "  ".join(shown) or "[dim]no face[/]"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
