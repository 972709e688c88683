"""Formats events, summaries and service responses with Rich. Text from other sources is escaped, never markup."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from emostream.cli.options import screen
from emostream.client import Change
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.redact import printable
from emostream.domain.summary import StreamSummary
from emostream.render.palette import colour_of


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
    """One row per person."""
    table = Table(title=title, title_justify="left")
    table.add_column("person", justify="right")
    for name in ("from", "to", "frames"):
        table.add_column(name, justify="right")
    table.add_column("mostly")
    table.add_column("share", justify="right")
    table.add_column("mean probabilities")
    for track in summary.tracks.values():
        strongest = sorted(track.mean_probabilities.items(), key=lambda item: -item[1])[:3]
        table.add_row(
            f"#{track.track_id}",
            f"{track.first_seen_seconds:.1f} s",
            f"{track.last_seen_seconds:.1f} s",
            str(track.num_frames),
            coloured(track.dominant),
            f"{track.dominant_share:.0%}",
            ", ".join(f"{coloured(emotion)} {probability:.0%}" for emotion, probability in strongest),
        )
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


def print_record(record: dict[str, Any], *, json: bool) -> None:
    """Print an object of a response as a table with a row per field, or as JSON."""
    if json:
        typer.echo(json_format.dumps(record))
        return
    table = Table(show_header=False)
    for name, value in record.items():
        table.add_row(name, _cell(value))
    screen.print(table)


def print_records(records: Sequence[dict[str, Any]], *, columns: Sequence[str], json: bool) -> None:
    """Print a list of objects of a response as a table with these columns, or as JSON."""
    if json:
        typer.echo(json_format.dumps(records))
        return
    table = Table(*(name.removeprefix("num_").replace("_", " ") for name in columns))
    for record in records:
        table.add_row(*(_cell(record[name]) for name in columns))
    screen.print(table)


def _cell(value: Any) -> str:
    return "" if value is None else as_markup(str(value))
