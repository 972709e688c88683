"""`emostream tail`: prints events as they are published, from Redis or from a service over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

import typer

from emostream.cli.export import start_from_text
from emostream.cli.options import ConfigOption, JsonOption, RedisOption, notes, screen, settings_for_command
from emostream.cli.streams import TokenOption
from emostream.cli.tables import change_line, event_line, status_line
from emostream.client import ApiError, AsyncServiceClient, ChangeFinder, Start
from emostream.client.http.json_client import with_advice
from emostream.config import Settings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.errors import ConfigError, EmostreamError, ServiceUnavailableError
from emostream.publish.redis.reader import RedisReader, id_from_start
from emostream.wire.events import json_from_event, json_from_status

Events = AsyncGenerator[EmotionEvent | StatusEvent, None]

_POLL_SECONDS = 2.0
"""How often a service is asked for streams that were added, where all are followed."""
_MAX_WAITING = 1000
"""Events of all streams that wait to be printed."""
_LAST_OF_MILLISECOND = 2**63 - 1
"""The second part of an entry id, larger than that of any entry."""


def tail(
    context: typer.Context,
    stream_ids: Annotated[
        list[str] | None, typer.Argument(help="Stream ids; all streams by default.", metavar="STREAM")
    ] = None,
    *,
    redis: RedisOption = None,
    service: Annotated[
        str | None,
        typer.Option(
            envvar="EMOSTREAM_SERVICE_URL",
            help="Read from this service over HTTP instead of from Redis, for example http://localhost:8000.",
            metavar="URL",
        ),
    ] = None,
    token: TokenOption = None,
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
    status: Annotated[bool, typer.Option("--status", help="Show status events as well (from Redis).")] = False,
    changes: Annotated[
        bool, typer.Option("--changes", help="Show only faces that appear, change emotion, or leave.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Print events of one, several or all streams as they are published."""
    settings = settings_for_command(config, redis=redis)
    position = None if start is None else start_from_text(start)
    if service is not None and _is_preferred(context, redis=redis, settings=settings):
        _check_for_http(follow=follow, status=status)
        first_id = None if position is None else id_from_start(position)
        source = _from_service(service, token=token, stream_ids=stream_ids or [], start=first_id or "now")
        num_rejected = 0
        num_events = asyncio.run(_print_events(source, json=json, limit=limit, changes=changes))
    else:
        reader = _reader(settings, stream_ids=stream_ids or [], start=position, follow=follow, status=status)
        num_events = asyncio.run(_print_events(_from_redis(reader), json=json, limit=limit, changes=changes))
        num_rejected = reader.num_rejected
    if not follow and not json:
        notes.print(f"{num_events} events")
    if num_rejected:
        notes.print(f"skipped {num_rejected} entries that this version cannot read")


def _is_preferred(context: typer.Context, *, redis: str | None, settings: Settings) -> bool:
    """Whether the service is read, not Redis: what is on the command line goes before settings and environment."""
    source = context.get_parameter_source("service")
    is_named = source is not None and source.name == "COMMANDLINE"
    if is_named and redis is not None:
        raise ConfigError("--redis and --service are two places to read the same events from: give one of them")
    return is_named or settings.publish.redis_url is None


def _check_for_http(*, follow: bool, status: bool) -> None:
    if not follow:
        raise ConfigError("events of a service are followed: use --limit N to stop, or --redis URL with --no-follow")
    if status:
        raise ConfigError("status events are in Redis only: use --redis URL with --status")


# --- from Redis -------------------------------------------------------------------------------------------------------


def _reader(
    settings: Settings, *, stream_ids: list[str], start: Start | None, follow: bool, status: bool
) -> RedisReader:
    if settings.publish.redis_url is None:
        raise ConfigError(
            "tail needs a Redis server or a service: use --redis URL or --service URL, or set "
            "EMOSTREAM_PUBLISH__REDIS_URL or EMOSTREAM_SERVICE_URL"
        )
    return RedisReader(
        settings.publish,
        redis_url=settings.publish.redis_url.get_secret_value(),
        stream_ids=stream_ids or None,
        start=start,
        follow=follow,
        with_status=status,
        expect_streams=True,
    )


@asynccontextmanager
async def _from_redis(reader: RedisReader) -> AsyncIterator[Events]:
    async def events() -> Events:
        async for entry in reader:
            yield entry.event

    async with reader, aclosing(events()) as found:
        yield found


# --- from a service ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _from_service(url: str, *, token: str | None, stream_ids: list[str], start: str) -> AsyncIterator[Events]:
    """Events of several streams of a service as they come, each over a connection of its own.

    Args:
        url, token: of the service.
        stream_ids: what to follow; none means all, also those that are added later. Ends when all named ones are over.
        start: "now", "start" or an entry id.

    Raises:
        ApiError: the service refuses, or knows no such stream.
        ServiceUnavailableError: it does not answer.
    """
    waiting: asyncio.Queue[EmotionEvent | Exception | None] = asyncio.Queue(_MAX_WAITING)

    async def read() -> None:
        error: Exception | None = None
        try:
            async with AsyncServiceClient(url, token=token) as client:
                if stream_ids:
                    await _follow_named(client, stream_ids, start=start, into=waiting)
                else:
                    await _follow_all(client, start=start, into=waiting)
        except* EmostreamError as errors:
            first = errors.exceptions[0]
            error = with_advice(first) if isinstance(first, ApiError) else first
        await waiting.put(error)

    async def events() -> Events:
        while (item := await waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    reading = asyncio.create_task(read())
    try:
        async with aclosing(events()) as found:
            yield found
    finally:
        reading.cancel()
        await asyncio.wait([reading])


async def _follow_named(
    client: AsyncServiceClient, stream_ids: Sequence[str], *, start: str, into: asyncio.Queue[Any]
) -> None:
    async with asyncio.TaskGroup() as group:
        for stream_id in dict.fromkeys(stream_ids):
            group.create_task(_Following(client, stream_id, into).run(start))


async def _follow_all(client: AsyncServiceClient, *, start: str, into: asyncio.Queue[Any]) -> None:
    followed: dict[str, _Following] = {}
    begin = start
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                streams = [stream async for stream in client.streams()]
            except ServiceUnavailableError:
                if not any(following.is_running for following in followed.values()):
                    raise
                streams = []  # those who read try again for a while, and then say so
            for stream in streams:
                following = followed.get(stream.id)
                if following is None:
                    following = followed[stream.id] = _Following(client, stream.id, into, may_be_gone=True)
                    if not stream.state.is_final or start != "now":
                        group.create_task(following.run(begin))
                elif not following.is_running and not stream.state.is_final:  # it runs again
                    group.create_task(following.run(following.position or start))
            begin = "start"  # of a stream that is added from now on
            await asyncio.sleep(_POLL_SECONDS)


class _Following:
    """Reads the events of a stream into a queue.

    Args:
        client: of the service.
        stream_id: which stream.
        into: the queue.
        may_be_gone: it is no error that there is no such stream any more.
    """

    def __init__(
        self, client: AsyncServiceClient, stream_id: str, into: asyncio.Queue[Any], *, may_be_gone: bool = False
    ) -> None:
        self._client = client
        self._stream_id = stream_id
        self._into = into
        self._may_be_gone = may_be_gone
        self.is_running = False
        self.position = ""
        """Entry id after all that were read; empty where there was none. It begins with the time of capture."""

    async def run(self, start: str) -> None:
        """Read until the stream is over."""
        self.is_running = True
        try:
            async with aclosing(self._client.events(self._stream_id, start=start)) as events:
                async for event in events:
                    self.position = f"{int(event.captured_at.timestamp() * 1000)}-{_LAST_OF_MILLISECOND}"
                    await self._into.put(event)
        except ApiError as exc:
            if exc.status != HTTPStatus.NOT_FOUND or not self._may_be_gone:
                raise
        finally:
            self.is_running = False


# --- printing ---------------------------------------------------------------------------------------------------------


async def _print_events(
    source: AbstractAsyncContextManager[Events], *, json: bool, limit: int | None, changes: bool
) -> int:
    num_events = 0
    finder = ChangeFinder()
    async with source as events:
        async for event in events:
            if changes and isinstance(event, EmotionEvent) and not (found := finder.add(event)):
                continue
            if json:
                # Flushed per line, so that a program behind a pipe receives each event at once.
                print(_json_line(event), flush=True)
            elif changes and isinstance(event, EmotionEvent):
                for change in found:
                    screen.print(change_line(change), soft_wrap=True)
            else:
                screen.print(_pretty_line(event), soft_wrap=True)
            num_events += 1
            if num_events == limit:
                break
    return num_events


def _json_line(event: EmotionEvent | StatusEvent) -> str:
    return json_from_event(event) if isinstance(event, EmotionEvent) else json_from_status(event)


def _pretty_line(event: EmotionEvent | StatusEvent) -> str:
    return event_line(event) if isinstance(event, EmotionEvent) else status_line(event)
