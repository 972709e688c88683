"""Voice events in a file of their own, beside a table of faces: one row per second of sound, every half second."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from emostream.domain.event_content import content_of_voice
from emostream.domain.voice import VoiceEvent
from emostream.errors import ConfigError
from emostream.wire.event_models import VoiceWire
from emostream.wire.events import json_from_voice


def voice_path(table: Path) -> Path:
    """Of the voice, beside a table of faces.

    >>> voice_path(Path("a.parquet")).name, voice_path(Path("a.jsonl")).name
    ('a-voice.csv', 'a-voice.jsonl')
    """
    return table.with_name(f"{table.stem}-voice{'.jsonl' if table.suffix.lower() == '.jsonl' else '.csv'}")


class VoiceTable:
    """Writes a row per window, with the fields of its event; empty cells where the event has no value.

    The file is made with the first row and has its name only when it is complete. What had the name is lost.

    Args:
        table: path of the table of faces; this file is `NAME-voice.csv` beside it, or `NAME-voice.jsonl` with a whole
            event a line where that has JSON lines, too.
    """

    def __init__(self, table: Path) -> None:
        self._path = voice_path(table)
        self._is_json = self._path.suffix == ".jsonl"
        self._partial = self._path.with_name(f".{self._path.stem}.part{self._path.suffix}")
        self._file: IO[str] | None = None
        self._rows: csv.DictWriter[str] | None = None

    def add(self, event: VoiceEvent) -> None:
        """Write a row.

        Raises:
            ConfigError: the file cannot be written.
        """
        with self._explained():
            if self._file is None:
                self._file = self._partial.open("w", encoding="utf-8", newline="")
            if self._is_json:
                self._file.write(f"{json_from_voice(event)}\n")
                return
            if self._rows is None:
                self._rows = csv.DictWriter(self._file, list(VoiceWire.model_fields))
                self._rows.writeheader()
            content = content_of_voice(event)
            self._rows.writerow(content | {"quality": " ".join(event.window.quality)})

    def close(self, *, is_kept: bool = True) -> list[Path]:
        """Finish the file, or remove it; gives its path where there is one. Errors as of `add`."""
        if self._file is None:
            return []
        file, self._file = self._file, None
        try:
            with self._explained():
                file.close()
                if is_kept:
                    self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)
        return [self._path] if is_kept else []

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            reason = os.strerror(exc.errno) if exc.errno else str(exc)
            raise ConfigError(
                f"cannot write {self._path}: {reason}; name a file in a folder you may write, with room"
            ) from exc
