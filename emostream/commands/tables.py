"""Events and summaries as Rich tables."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from emostream.client import Change
from emostream.event import EmotionEvent, StatusEvent
from emostream.palette import colour_of
from emostream.summary import StreamSummary


def coloured(emotion: str) -> str:
    """The emotion in its colour, as Rich markup."""
    red, green, blue = colour_of(emotion)
    return f"[rgb({red},{green},{blue})]{emotion}[/]"


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
    return f"[dim]{event.stream_id}[/] {event.pts_seconds:8.2f} s  {faces or '[dim]no face[/]'}"


def change_line(change: Change) -> str:
    """A change as one line of Rich markup."""
    event = change.event
    names = " → ".join(coloured(name) if name else "[dim]absent[/]" for name in (change.before, change.after))
    return f"[dim]{event.stream_id}[/] {event.pts_seconds:8.2f} s  #{change.track_id} {names}"


def status_line(event: StatusEvent) -> str:
    """A status event as one line of Rich markup."""
    detail = f": {escape(event.detail)}" if event.detail else ""
    return f"[dim]{event.stream_id}[/] [bold]{event.state.value}[/]{detail} [dim]({event.num_events} events)[/]"
