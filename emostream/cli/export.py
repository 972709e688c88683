"""`emostream export`: writes the events in Redis to a table file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from emostream.cli.options import ConfigOption, RedisOption, check_is_path, notes, settings_for_command
from emostream.client import EmotionEvent, EmotionEvents, Start
from emostream.errors import ConfigError
from emostream.publish.files.table_writer import open_table_writer

_EVENTS_PER_WRITE = 4096


def export(
    stream_ids: Annotated[
        list[str] | None, typer.Argument(help="Stream ids; all streams by default.", metavar="STREAM")
    ] = None,
    *,
    output: Annotated[
        Path | None, typer.Option(help="File to write: .csv, .jsonl or .parquet.", metavar="FILE")
    ] = None,
    redis: RedisOption = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where to start: start, an entry id (exclusive), or a time such as 2026-11-23T10:00:00Z.",
            metavar="START",
        ),
    ] = "start",
    config: ConfigOption = None,
) -> None:
    """Write the events kept in Redis to a CSV, JSON Lines or Parquet file.

    CSV and Parquet have one row per face; JSON Lines has whole events.
    """
    settings = settings_for_command(config, redis=redis)
    stream_ids = stream_ids or []
    if output is None and stream_ids:  # `emostream export FILE [STREAM]...`, as it was before
        output, stream_ids = Path(stream_ids[0]), stream_ids[1:]
    check_is_path(output, option="--output")
    if output is None:
        raise ConfigError("export needs --output FILE, which ends with .csv, .jsonl or .parquet")
    if settings.publish.redis_url is None:
        raise ConfigError("export needs a Redis server: use --redis URL or set EMOSTREAM_PUBLISH__REDIS_URL")
    events = EmotionEvents(
        settings.publish.redis_url.get_secret_value(),
        streams=stream_ids or None,
        start=start_from_text(start),
        follow=False,
        connect_timeout_seconds=settings.publish.connect_timeout_seconds,
        max_retry_seconds=settings.publish.max_retry_seconds,
    )
    num_events = _write(events, output)
    notes.print(f"{num_events} events in {output}", markup=False, soft_wrap=True)
    if events.num_rejected:
        notes.print(f"skipped {events.num_rejected} entries that this version cannot read")


def start_from_text(text: str) -> Start:
    """Parse a start position: a time, if the text is one, otherwise the text itself.

    >>> start_from_text("now"), start_from_text("1790000000000-3")
    ('now', '1790000000000-3')
    >>> start_from_text("2026-11-23T10:00:00Z").year
    2026

    Raises:
        ConfigError: it is a time without a time zone.
    """
    try:
        at = datetime.fromisoformat(text) if "T" in text else None
    except ValueError:
        at = None
    if at is not None and at.tzinfo is None:
        raise ConfigError(f"time {text!r} has no time zone; write {text}+00:00 or {text}Z, for example")
    return text if at is None else at


def _write(events: EmotionEvents, output: Path) -> int:
    writer = open_table_writer(output)
    num_events = 0
    columns = (TextColumn("{task.completed} events"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=notes, disable=not notes.is_terminal, transient=True) as progress:
            bar = progress.add_task("export", total=None)
            waiting: list[EmotionEvent] = []
            for event in events:
                waiting.append(event)
                if len(waiting) == _EVENTS_PER_WRITE:
                    writer.write(waiting)
                    num_events += len(waiting)
                    waiting.clear()
                    progress.update(bar, completed=num_events)
            writer.write(waiting)
            num_events += len(waiting)
    finally:
        writer.close()
    return num_events
