"""Formats events, summaries and service responses with Rich. Text from other sources is escaped, never markup."""

from __future__ import annotations

import itertools
import json as json_format
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from emostream.cli.options import notes, screen
from emostream.client import Change
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.redact import printable
from emostream.domain.summary import StreamSummary
from emostream.render.palette import colour_of

MAX_PEOPLE: Final = 20
"""Rows of a table of people. A crowd would fill the terminal many times; files and reports have everybody."""
_LEAST_SHOWN = 0.005
"""Probabilities that would be shown as 0%."""
_MIN_DETAIL_WIDTH = 24
_PADDING = 2
_UNBOUNDED = 100_000


def as_markup(text: str) -> str:
    """Escape a text as Rich markup, so that it is shown unchanged.

    >>> as_markup("pip install 'emostream[gpu]'")
    "pip install 'emostream\\\\[gpu]'"
    """
    return escape(printable(text))


def coloured(emotion: str) -> str:
    """An emotion in its colour, as Rich markup."""
    red, green, blue = colour_of(emotion)
    return f"[rgb({red},{green},{blue})]{as_markup(emotion)}[/]"


def summary_table(summary: StreamSummary, *, title: str) -> Table:
    """One row per track, in order of appearance, with its person where persons are told apart.

    Of more than `MAX_PEOPLE`, those who are in most frames are shown, and the caption says how many are not.
    """
    tracks = list(summary.tracks.values())
    shown = {track.track_id for track in sorted(tracks, key=lambda track: -track.num_frames)[:MAX_PEOPLE]}
    table = new_table(title=title)
    has_persons = summary.num_persons is not None
    for name in ("face", *(("person",) if has_persons else ()), "from", "to", "frames"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("mostly", overflow="fold")  # own models may have long labels
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("mean probabilities", overflow="fold")
    for track in tracks:
        if track.track_id not in shown:
            continue
        means = {name: mean for name, mean in track.mean_probabilities.items() if mean >= _LEAST_SHOWN}
        strongest = sorted(means.items(), key=lambda item: -item[1])[:3]
        table.add_row(
            f"#{track.track_id}",
            *((str(track.person_id or "–"),) if has_persons else ()),
            f"{track.first_seen_seconds:.1f} s",
            f"{track.last_seen_seconds:.1f} s",
            str(track.num_frames),
            coloured(track.dominant),
            f"{track.dominant_share:.0%}",
            ", ".join(f"{coloured(emotion)} {probability:.0%}" for emotion, probability in strongest),
        )
    if num_more := len(tracks) - len(shown):
        table.caption = f"and {num_more} more, in fewer frames"
    return table


def event_line(event: EmotionEvent) -> str:
    """An event as one line of Rich markup."""
    faces = "  ".join(f"#{face.face.track_id} {coloured(face.dominant)} {face.confidence:.0%}" for face in event.faces)
    return f"[dim]{as_markup(event.stream_id)}[/] {event.pts_seconds:8.2f} s  {faces or '[dim]no face[/]'}"


def change_line(change: Change) -> str:
    """A change as one line of Rich markup."""
    event = change.event
    names = " → ".join(coloured(name) if name else "[dim]absent[/]" for name in (change.before, change.after))
    return f"[dim]{as_markup(event.stream_id)}[/] {event.pts_seconds:8.2f} s  #{change.track_id} {names}"


def status_line(event: StatusEvent) -> str:
    """A status event as one line of Rich markup."""
    detail = f": {as_markup(event.detail)}" if event.detail else ""
    stream_id = as_markup(event.stream_id)
    return f"[dim]{stream_id}[/] [bold]{event.state.value}[/]{detail} [dim]({event.num_events} events)[/]"


def print_record(record: Mapping[str, Any], *, json: bool) -> None:
    """Print an object of a response as a table with a row per field, or as JSON."""
    if json:
        typer.echo(json_format.dumps(record))
        return
    screen.print(fields_table({name: _cell(value) for name, value in record.items()}))


def fields_table(fields: Mapping[str, str]) -> Table:
    """A row per field: name and value, as Rich markup. Long values are folded, names are not."""
    table = new_table(show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, value)
    return table


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list.

    Attributes:
        name: of the values in a record.
        title: over the column; by default the name.
        is_detail: a text of any length, which may be folded. All other columns keep their width.
    """

    name: str
    title: str = ""
    is_detail: bool = False

    @property
    def heading(self) -> str:
        """What is printed over the column."""
        return self.title or self.name.removeprefix("num_").replace("_", " ")


def print_records(records: Sequence[Mapping[str, Any]], *, columns: Sequence[Column], json: bool, empty: str) -> None:
    """Print a list of objects of a response as a table with these columns, or as JSON.

    Args:
        records: objects with a value for each column. The first column is what names them.
        columns: of the table.
        json: print the objects as they are.
        empty: what to say, on standard error, where there is none.
    """
    if json:
        typer.echo(json_format.dumps(records))
    elif not records:
        notes.print(empty, markup=False)
    else:
        rows = [{column.name: _cell(record[column.name]) for column in columns} for record in records]
        numbers = {name for record in records for name, value in record.items() if isinstance(value, int | float)}
        print_rows(rows, columns=columns, numbers=numbers)


def print_rows(rows: Sequence[Mapping[str, str]], *, columns: Sequence[Column], numbers: Container[str] = ()) -> None:
    """Print a table in which nothing is cut, whatever the width of the terminal.

    Details are folded in their columns. Where these would be narrow, they follow the table, each after the name that
    its row has; where not even the other columns fit, each row becomes a small table of its own.

    Args:
        rows: column → value, as Rich markup. The first column is what names them.
        columns: of the table, in this order.
        numbers: names of columns that are aligned to the right.
    """
    plain = [column for column in columns if not column.is_detail]
    details = [column for column in columns if column.is_detail and any(row[column.name] for row in rows)]
    room = screen.width - _width(_list_table(rows, plain, numbers))
    if room < 0:
        for number, row in enumerate(rows):
            if number:
                screen.print()
            shown = [column for column in (*plain, *details) if row[column.name]]
            screen.print(fields_table({column.heading: row[column.name] for column in shown}))
    elif room >= len(details) * (_MIN_DETAIL_WIDTH + _PADDING):
        screen.print(_list_table(rows, [*plain, *details], numbers))
    else:
        screen.print(_list_table(rows, plain, numbers))
        for column, row in itertools.product(details, rows):
            if row[column.name]:
                screen.print(f"[bold]{row[columns[0].name]}[/]: {row[column.name]}")


def new_table(**options: Any) -> Table:
    """An empty table as all commands print them: without lines, so that 80 columns hold much."""
    return Table(box=None, pad_edge=False, title_justify="left", caption_justify="left", **options)


def _list_table(rows: Sequence[Mapping[str, str]], columns: Sequence[Column], numbers: Container[str]) -> Table:
    table = new_table()
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.name in numbers else "left",
            no_wrap=not column.is_detail,
            overflow="fold",
            min_width=_MIN_DETAIL_WIDTH if column.is_detail else None,
        )
    for row in rows:
        table.add_row(*(row[column.name] for column in columns))
    return table


def _width(table: Table) -> int:
    """Columns of a terminal that a table needs where nothing is folded."""
    return Measurement.get(screen, screen.options.update(max_width=_UNBOUNDED), table).maximum


def _cell(value: Any) -> str:
    return "" if value is None else as_markup(str(value))
