"""Reading text files and csv tables by column, with errors that name file, column and line."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emostream.errors import SourceRejectedError


def read_table(path: Path, *, needed: Sequence[str]) -> dict[str, list[str]]:
    """The needed columns of a csv file with a header line.

    Raises:
        SourceRejectedError: the file cannot be read, a column is missing, or a line has too few fields.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in needed if name not in header]
            if missing:
                raise SourceRejectedError(
                    f"table {path} has no column {missing[0]!r}; expected {', '.join(needed)}, got {', '.join(header)}"
                )
            places = [header.index(name) for name in needed]
            columns: dict[str, list[str]] = {name: [] for name in needed}
            for row in reader:
                if not row:
                    continue
                if len(row) <= max(places):
                    raise SourceRejectedError(
                        f"table {path}, line {reader.line_num}: expected {len(header)} fields, got {len(row)}"
                    )
                for name, place in zip(needed, places, strict=True):
                    columns[name].append(row[place])
    except OSError as exc:
        raise SourceRejectedError(f"table {path} cannot be read: {exc.strerror}") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise SourceRejectedError(f"table {path} is not a csv text file: {exc}") from exc
    return columns


def header_of(path: Path) -> tuple[str, ...]:
    """The column names of a csv file; none when it is no text file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(name.strip() for name in next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def read_text(path: Path) -> str:
    """A text file as a whole.

    Raises:
        SourceRejectedError: the file cannot be read or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise SourceRejectedError(f"file {path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SourceRejectedError(f"file {path} is not a text file: {exc}") from exc


def integers(table: dict[str, list[str]], column: str, *, source: Path) -> npt.NDArray[np.int64]:
    """A column as int64.

    Raises:
        SourceRejectedError: a field that is no whole number.
    """
    values = np.zeros(len(table[column]), dtype=np.int64)
    for place, text in enumerate(table[column]):
        try:
            values[place] = int(text)
        except (ValueError, OverflowError) as exc:
            raise SourceRejectedError(
                f"table {source}, entry {place}: expected a whole number in column {column!r}, got {text[:20]!r}"
            ) from exc
    return values
