"""Writes events as JSON lines: to standard output for other programs, or to a file."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Self

from emostream.domain.event import EmotionEvent, StatusEvent, SummaryEvent
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError, SinkUnavailableError
from emostream.wire.events import json_from_event, json_from_status, json_from_summary, json_from_voice


class JsonlSink:
    """One event per line, each line whole: what cannot be written entirely is taken back where that is possible.

    Several streams may publish at once. Status events are left out unless asked for, so that every line is an emotion
    event.
    """

    def __init__(self, stream: BinaryIO, *, name: str, is_owned: bool, with_status: bool = False) -> None:
        """Use `to_stdout` or `to_file`.

        Args:
            stream: takes the lines.
            name: what errors call it.
            is_owned: whether `close` closes it.
            with_status: write status and summary events as well; they have a `state` or a `summary_index`. Voice
                events, which have a `window_index`, are written wherever they are made.
        """
        self._stream = stream
        self._name = name
        self._is_owned = is_owned
        self._with_status = with_status
        self._lock = threading.Lock()  # a write goes on when the task that waits for it is cancelled

    @classmethod
    def to_stdout(cls, *, with_status: bool = False) -> Self:
        """Write to standard output."""
        return cls(sys.stdout.buffer, name="standard output", is_owned=False, with_status=with_status)

    @classmethod
    def to_file(cls, path: Path, *, with_status: bool = False) -> Self:
        """Write to a new file; what was there is lost.

        Raises:
            ConfigError: the file cannot be made.
        """
        try:
            stream = path.open("wb", buffering=0)  # so that a failed write leaves nothing to write later
        except OSError as exc:
            reason = os.strerror(exc.errno or errno.EIO)
            raise ConfigError(
                f"cannot write events to {path}: {reason}; name a file in a folder you may write"
            ) from exc
        return cls(stream, name=str(path), is_owned=True, with_status=with_status)

    async def publish(self, events: Sequence[EmotionEvent]) -> None:
        """Deliver emotion events, in order; returns when the operating system has them."""
        await self._write_lines([json_from_event(event) for event in events])

    async def publish_status(self, event: StatusEvent) -> None:
        """Deliver a status event, if asked for."""
        if self._with_status:
            await self._write_lines([json_from_status(event)])

    async def publish_summary(self, event: SummaryEvent) -> None:
        """Deliver a summary event, where status events are asked for."""
        if self._with_status:
            await self._write_lines([json_from_summary(event)])

    async def publish_voice(self, event: VoiceEvent) -> None:
        """Deliver a voice event; there are none unless they are asked for."""
        await self._write_lines([json_from_voice(event)])

    async def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._is_owned:
            await asyncio.to_thread(self._close)

    async def _write_lines(self, lines: Sequence[str]) -> None:
        if lines:
            # A pipe blocks while its reader is slow; the other streams of the process must not wait for it.
            await asyncio.to_thread(self._write, "".join(f"{line}\n" for line in lines).encode())

    def _close(self) -> None:
        """Runs in a worker thread, after what is being written."""
        with self._lock:
            self._stream.close()

    def _write(self, content: bytes) -> None:
        """Runs in a worker thread."""
        with self._lock:
            self._write_whole(content)

    def _write_whole(self, content: bytes) -> None:
        start = self._stream.tell() if self._is_owned and self._stream.seekable() else None
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[self._stream.write(rest) :]
            self._stream.flush()
        except BrokenPipeError as exc:
            self._abandon()
            raise SinkUnavailableError(f"cannot write events to {self._name}: its reader went away") from exc
        except OSError as exc:
            if start is not None:
                with contextlib.suppress(OSError):  # a device takes nothing back
                    self._stream.truncate(start)
                    self._stream.seek(start)
            reason = os.strerror(exc.errno or errno.EIO)
            raise SinkUnavailableError(f"cannot write events to {self._name}: {reason}; free some space") from exc

    def _abandon(self) -> None:
        # The interpreter flushes standard output once more at its end, and would report the broken pipe again.
        if not self._is_owned:
            try:
                descriptor = self._stream.fileno()
            except (io.UnsupportedOperation, ValueError):
                return
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
