"""Voice events as a CSV file: one row per second of sound, every half second."""

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


class VoiceTable:
    """Writes a row per window, with the fields of its event; empty cells where the event has no value.

    The file is made with the first row and has its name only when it is complete. What had the name is lost.

    Args:
        table: path of the table of faces; this file is `NAME-voice.csv` beside it.
    """

    def __init__(self, table: Path) -> None:
        self._path = table.with_name(f"{table.stem}-voice.csv")
        self._partial = table.with_name(f".{table.stem}-voice.part.csv")
        self._file: IO[str] | None = None
        self._rows: csv.DictWriter[str] | None = None

    def add(self, event: VoiceEvent) -> None:
        """Write a row.

        Raises:
            ConfigError: the file cannot be written.
        """
        with self._explained():
            if self._rows is None:
                self._file = self._partial.open("w", encoding="utf-8", newline="")
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
