"""Writes events to a Parquet file, one row per face."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.publish.files.table_writer import ExplainedWriter, ParquetWriter

_ROWS_PER_GROUP = 4096


class ParquetSink:
    """Collects rows and writes them in groups; the file can be read after `close`. Status events are left out.

    Returning from `publish` means taken, not written: a Parquet file without its end cannot be read, so a crash loses
    the file. Several streams may publish at once. Use it for analyses, not as the only place of live streams.

    Args:
        path: a new file; what was there is lost.

    Raises:
        ConfigError: pyarrow is not installed; later, that the file cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self._writer = ExplainedWriter(ParquetWriter(path), path)
        self._waiting: deque[EmotionEvent] = deque()
        self._lock = threading.Lock()  # a write outlives the cancellation of whoever waits for it

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Take emotion events."""
        self._waiting.extend(events)
        if len(self._waiting) >= _ROWS_PER_GROUP:
            await asyncio.to_thread(self._write_waiting)

    async def publish_status(self, event: StatusEvent) -> None:
        """There is no place for it in a table of faces."""

    async def close(self) -> None:
        """Write the rest and finish the file."""
        try:
            await asyncio.to_thread(self._write_waiting)
        finally:
            self._writer.close()

    def _write_waiting(self) -> None:
        """Runs in a worker thread; several may come here at once, one per stream."""
        with self._lock:
            self._writer.write([self._waiting.popleft() for _ in range(len(self._waiting))])
