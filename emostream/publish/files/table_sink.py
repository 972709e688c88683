"""Writes events to a table file, one row per face: CSV or Parquet. Voice events go into a table beside it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.voice import VoiceEvent
from emostream.publish.files.table_writer import open_table_writer
from emostream.publish.files.voice_table import VoiceTable

_EVENTS_PER_GROUP = 4096  # of a row group; a file of many small ones is large and slow to read


class TableSink:
    """Writes a row per face; the file is whole after `close`. Status events are left out, voice events are written to
    a file of their own (`VoiceTable`).

    A Parquet file is written in groups and cannot be read without its end: returning from `publish` means taken, not
    written, and a crash loses the file. Several streams may publish at once. Use it for analyses, not as the only place
    of live streams.

    Args:
        path: a new file; what was there is lost.
        suffix: the format, as the end of a file name; by default that of the path.

    Raises:
        ConfigError: the format is unknown, its package is not installed, or the file cannot be made; later, that it
            cannot be written.
    """

    def __init__(self, path: Path, *, suffix: str | None = None) -> None:
        self._voice = VoiceTable(path)
        self._writer = open_table_writer(path, suffix=suffix)
        self._group = _EVENTS_PER_GROUP if (suffix or path.suffix.lower()) == ".parquet" else 1
        self._waiting: deque[EmotionEvent] = deque()
        self._lock = threading.Lock()  # a write goes on when the task that waits for it is cancelled

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Take emotion events."""
        self._waiting.extend(events)
        if len(self._waiting) >= self._group:
            await asyncio.to_thread(self._write_waiting)

    async def publish_status(self, event: StatusEvent) -> None:
        """There is no place for it in a table of faces."""

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Write a voice event; there are none unless they are asked for."""
        await asyncio.to_thread(self._write_voice, event)

    async def close(self) -> None:
        """Write the rest and finish the files."""
        try:
            await asyncio.to_thread(self._write_waiting)
        finally:
            with contextlib.ExitStack() as stack:
                stack.callback(self._writer.close)
                self._voice.close()

    def _write_voice(self, event: VoiceEvent) -> None:
        """Runs in a worker thread."""
        with self._lock:
            self._voice.add(event)

    def _write_waiting(self) -> None:
        """Runs in a worker thread; several may come here at once, one per stream."""
        with self._lock:
            self._writer.write([self._waiting.popleft() for _ in range(len(self._waiting))])
