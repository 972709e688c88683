"""Writes events to a table file, some thousand rows at a time: CSV, JSON lines, or Parquet."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from emostream.domain.event import EmotionEvent
from emostream.errors import ConfigError
from emostream.publish.files.table import (
    EVENT_COLUMNS,
    Row,
    columns_of,
    labels_of,
    rounded_row,
    rows_from_events,
    types_of_columns,
)
from emostream.wire.events import json_from_event

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NEEDS_EXPORT = "install the extra `export`: pip install 'emostream[export]' (or 'emostream-client[export]')"


class TableWriter(Protocol):
    """Takes events in order; whole and readable after `close`."""

    def write(self, events: Sequence[EmotionEvent]) -> None:
        """Add events."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


_MAX_WAITING = 100_000
"""Events without a face that wait for the first one with a face; more than an hour of a camera."""


class _FirstFace:
    """Keeps events until it is known which emotions there are: from the caller, or from the first face."""

    def __init__(self, labels: Sequence[str] | None) -> None:
        self.labels = None if labels is None else tuple(labels)
        self._waiting: list[EmotionEvent] = []

    def ready(self, events: Sequence[EmotionEvent], *, is_last: bool = False) -> Sequence[EmotionEvent]:
        """The events that can be written now, in order; `labels` is known when there are some, or after the last."""
        if self.labels is not None:
            return events
        self._waiting += events
        has_face = any(event.faces for event in events)
        if not (has_face or is_last or len(self._waiting) >= _MAX_WAITING):
            return ()
        released, self._waiting = self._waiting, []
        self.labels = labels_of(released)
        return released


class CsvWriter:
    """A header and one line per face; times in RFC 3339, empty cells where a frame has no face, digits as in JSON.

    Args:
        path: of the file.
        labels: the emotions of the events; None when they are to be taken from the first face.
    """

    def __init__(self, path: Path, labels: Sequence[str] | None = None) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._writer: csv.DictWriter[str] | None = None
        self._first_face = _FirstFace(labels)

    def write(self, events: Sequence[EmotionEvent]) -> None:
        """Add events."""
        self._write(self._first_face.ready(events))

    def _write(self, events: Sequence[EmotionEvent]) -> None:
        labels = self._first_face.labels
        if labels is None:
            return
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, columns_of(labels))
            self._writer.writeheader()
        for row in rows_from_events(events, labels=labels):
            cells = rounded_row(row, labels=labels)
            self._writer.writerow(cells | {"captured_at": row["captured_at"].isoformat()})

    def close(self) -> None:
        """Finish; a file without events has the header only."""
        with self._file:
            self._write(self._first_face.ready([], is_last=True))


class JsonLinesWriter:
    """One whole event per line."""

    def __init__(self, path: Path, labels: Sequence[str] | None = None) -> None:
        del labels  # each event names its own
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def write(self, events: Sequence[EmotionEvent]) -> None:
        """Add events."""
        self._file.writelines(f"{json_from_event(event)}\n" for event in events)

    def close(self) -> None:
        """Finish."""
        self._file.close()


class ParquetWriter:
    """One row per face, a row group per call of `write`, compressed with Zstandard; arguments as of `CsvWriter`.

    Raises:
        ConfigError: pyarrow is not installed.
    """

    def __init__(self, path: Path, labels: Sequence[str] | None = None) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError as exc:
            raise ConfigError(f"Parquet needs pyarrow; {NEEDS_EXPORT}") from exc
        self._parquet = pq
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._first_face = _FirstFace(labels)

    def write(self, events: Sequence[EmotionEvent]) -> None:
        """Add events."""
        self._write(self._first_face.ready(events))

    def _write(self, events: Sequence[EmotionEvent]) -> None:
        import pyarrow as pa

        labels = self._first_face.labels
        if labels is None:
            return
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._path, arrow_schema(labels), compression="zstd")
        rows = list(rows_from_events(events, labels=labels))
        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(labels)))

    def close(self) -> None:
        """Finish; a file without events has its columns only."""
        try:
            self._write(self._first_face.ready([], is_last=True))
        finally:
            if self._writer is not None:
                self._writer.close()


def arrow_schema(labels: Sequence[str]) -> pa.Schema:
    """The Arrow types of the columns."""
    import pyarrow as pa

    single = {bool: pa.bool_(), int: pa.int64(), str: pa.string(), datetime: pa.timestamp("us", tz="UTC")}
    kinds = types_of_columns()

    def type_of(name: str) -> pa.DataType:
        floating = pa.float64() if name in EVENT_COLUMNS else pa.float32()
        return single.get(kinds.get(name, float), floating)

    return pa.schema([(name, type_of(name)) for name in columns_of(labels)])


_WRITERS: dict[str, Callable[[Path, Sequence[str] | None], TableWriter]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonLinesWriter,
    ".parquet": ParquetWriter,
}


class ExplainedWriter:
    """Says which file cannot be written, and why, in place of what the libraries raise."""

    def __init__(self, writer: TableWriter, path: Path) -> None:
        self._writer = writer
        self._path = path

    def write(self, events: Sequence[EmotionEvent]) -> None:
        """See `TableWriter`; raises `ConfigError`."""
        with _explaining(self._path):
            self._writer.write(events)

    def close(self) -> None:
        """See `TableWriter`; raises `ConfigError`."""
        with _explaining(self._path):
            self._writer.close()


@contextlib.contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        raise ConfigError(f"cannot write {path}: {reason}; name a file in a folder you may write, with room") from exc


def open_table_writer(
    path: Path, *, labels: Sequence[str] | None = None, suffix: str | None = None, named: Path | None = None
) -> TableWriter:
    """A writer for the format that the file's name ends with; what was there is lost.

    Args:
        path: of the file.
        suffix: the format, as the end of a file name; None goes by the path.
        labels: the emotions of the events; None takes them from the first face, for which events without one wait.
        named: what messages call the file, when it gets its name later; None means the path.

    Raises:
        ConfigError: the format is not known, a package is missing, or the file cannot be made; later, that it cannot be
            written to the end.
    """
    writer = _WRITERS[suffix or format_of(path)]
    with _explaining(named or path):
        return ExplainedWriter(writer(path, labels), named or path)


def format_of(path: Path) -> str:
    """How the name of a table file ends, in lower case.

    Raises:
        ConfigError: that names no format.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise ConfigError(f"{path} names no known format; expected a name that ends with {', '.join(_WRITERS)}")
    return suffix


def frame_from_events(events: Iterable[EmotionEvent]) -> pd.DataFrame:
    """A pandas table with one row per face, columns as in `table.columns_of`.

    Args:
        events: are read when it is clear that there can be a table.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as exc:
        raise ConfigError(f"tables need pandas; {NEEDS_EXPORT}") from exc
    events = list(events)
    labels = labels_of(events)
    rows: list[Row] = list(rows_from_events(events, labels=labels))
    types: dict[str, Any] = {name: "Int64" for name, kind in types_of_columns().items() if kind is int}
    return pd.DataFrame.from_records(rows, columns=list(columns_of(labels))).astype(types)
