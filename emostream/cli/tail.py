"""`emostream tail`: prints events from Redis as they are published."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from emostream.cli.export import start_from_text
from emostream.cli.options import ConfigOption, JsonOption, RedisOption, notes, screen, settings_for_command
from emostream.cli.tables import change_line, event_line, status_line
from emostream.client import ChangeFinder
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.errors import ConfigError
from emostream.publish.redis.reader import RedisReader
from emostream.wire.events import json_from_event, json_from_status


def tail(
    stream_ids: Annotated[
        list[str] | None, typer.Argument(help="Stream ids; all streams by default.", metavar="[STREAM]...")
    ] = None,
    *,
    redis: RedisOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Where to start: now, start, an entry id (exclusive), or a time such as 2026-11-23T10:00:00Z. "
            "By default now; with --no-follow the start.",
            metavar="START",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Keep waiting for new events.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.", metavar="N")] = None,
    status: Annotated[bool, typer.Option(help="Show status events as well.")] = False,
    changes: Annotated[bool, typer.Option(help="Show only faces that appear, change emotion, or leave.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Print events of one, several or all streams as they are published."""
    settings = settings_for_command(config, redis=redis)
    if settings.publish.redis_url is None:
        raise ConfigError("tail needs a Redis server: use --redis URL or set EMOSTREAM_PUBLISH__REDIS_URL")
    reader = RedisReader(
        settings.publish,
        redis_url=settings.publish.redis_url.get_secret_value(),
        stream_ids=stream_ids or None,
        start=None if start is None else start_from_text(start),
        follow=follow,
        with_status=status,
        expect_streams=True,
    )
    num_events = asyncio.run(_print_events(reader, json=json, limit=limit, changes=changes))
    if not follow and not json:
        notes.print(f"{num_events} events")
    if reader.num_rejected:
        notes.print(f"skipped {reader.num_rejected} entries that this version cannot read")


async def _print_events(reader: RedisReader, *, json: bool, limit: int | None, changes: bool) -> int:
    num_events = 0
    finder = ChangeFinder()
    async with reader:
        async for entry in reader:
            if changes and isinstance(entry.event, EmotionEvent) and not (found := finder.add(entry.event)):
                continue
            if json:
                # Flushed per line, so that a program behind a pipe receives each event at once.
                print(_json_line(entry.event), flush=True)
            elif changes and isinstance(entry.event, EmotionEvent):
                for change in found:
                    screen.print(change_line(change), soft_wrap=True)
            else:
                screen.print(_pretty_line(entry.event), soft_wrap=True)
            num_events += 1
            if num_events == limit:
                break
    return num_events


def _json_line(event: EmotionEvent | StatusEvent) -> str:
    return json_from_event(event) if isinstance(event, EmotionEvent) else json_from_status(event)


def _pretty_line(event: EmotionEvent | StatusEvent) -> str:
    return event_line(event) if isinstance(event, EmotionEvent) else status_line(event)
