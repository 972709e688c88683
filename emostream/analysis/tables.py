"""The events of a run as tables, written as they come; they get their names when they are complete."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from emostream.domain.event import EmotionEvent
from emostream.domain.voice import VoiceEvent
from emostream.errors import EmostreamError
from emostream.publish.files.table_writer import TableWriter, open_table_writer
from emostream.publish.files.voice_table import VoiceTable, voice_path

_EVENTS_PER_WRITE = 2000


class EventTables:
    """Writes the same events to several files, each in the format of its name, and voice events beside them.

    Args:
        paths: of the files.
        labels: the emotions of the events.

    Raises:
        ConfigError: a format is unknown, a package is missing, or a file cannot be written.
    """

    def __init__(self, paths: Sequence[Path], *, labels: Sequence[str]) -> None:
        self._targets = list(paths)
        self._partials = [path.with_name(f".{path.stem}.part{path.suffix}") for path in self._targets]
        self._writers: list[TableWriter] = []
        self._waiting: list[EmotionEvent] = []
        self._voices = [VoiceTable(path) for path in {voice_path(path): path for path in paths}.values()]
        try:
            for path, target in zip(self._partials, self._targets, strict=True):
                self._writers.append(open_table_writer(path, labels=labels, named=target))
        except EmostreamError:
            self.close(is_kept=False)
            raise

    def add(self, event: EmotionEvent) -> None:
        """Take an event."""
        self._waiting.append(event)
        if len(self._waiting) >= _EVENTS_PER_WRITE:
            self._flush()

    def hear(self, event: VoiceEvent) -> None:
        """Take a voice event; from another thread than the others, if need be."""
        for voice in self._voices:
            voice.add(event)

    def close(self, *, is_kept: bool) -> tuple[list[Path], list[Path]]:
        """Finish the files and give them their names; or remove them, also when one cannot be finished.

        Returns:
            The files of events, and those of voice events, which are none where none was heard.
        """
        voices: list[Path] = []
        try:
            self._finish()
        except EmostreamError:
            is_kept = False
            raise
        finally:
            self._put_in_place(is_kept=is_kept)
            for voice in self._voices:
                voices += voice.close(is_kept=is_kept)
        return (self._targets, voices) if is_kept else ([], [])

    def _finish(self) -> None:
        with contextlib.ExitStack() as stack:
            for writer in self._writers:
                stack.callback(writer.close)
            self._flush()

    def _put_in_place(self, *, is_kept: bool) -> None:
        for partial_path, target in zip(self._partials, self._targets, strict=True):
            if is_kept:
                partial_path.replace(target)
            else:
                partial_path.unlink(missing_ok=True)

    def _flush(self) -> None:
        for writer in self._writers:
            writer.write(self._waiting)
        self._waiting = []
