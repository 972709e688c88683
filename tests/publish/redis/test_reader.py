"""Reading back: from anywhere, one stream or all, hostile entries left out, through restarts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.redis.connection import open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import EventEntry, RedisReader, Start
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import events_key
from tests.publish.samples import CAPTURED_AT, STATUS, events_of

pytestmark = pytest.mark.integration

SETTINGS = PublishSettings(connect_timeout_seconds=2.0, max_retry_seconds=10.0)


@pytest.fixture
async def sink(redis_server: EmbeddedRedis) -> AsyncIterator[RedisSink]:
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        yield sink


async def take(reader: RedisReader, num_entries: int) -> list[EventEntry]:
    """The next entries of a reader that follows."""
    entries: list[EventEntry] = []
    async with asyncio.timeout(20):
        async for entry in reader:
            entries.append(entry)
            if len(entries) == num_entries:
                break
    return entries


def indexes_of(entries: list[EventEntry]) -> list[int]:
    return [entry.event.frame_index for entry in entries if isinstance(entry.event, EmotionEvent)]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("start", [0, 1, 2, 3, 4]),
        ("now", []),
        (CAPTURED_AT + timedelta(seconds=0.08), [2, 3, 4]),
        (f"{int(CAPTURED_AT.timestamp() * 1000) + 40}-1", [2, 3, 4]),
        (str(int(CAPTURED_AT.timestamp() * 1000) + 160), [4]),
        ("0", [0, 1, 2, 3, 4]),
    ],
    ids=["start", "now", "time", "id", "milliseconds", "zero"],
)
async def test_reads_from(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str, start: Start, expected: list[int]
) -> None:
    await sink.publish(events_of(stream_id, range(5)))
    reader = RedisReader(SETTINGS, redis_url=redis_server.url, stream_ids=[stream_id], start=start, follow=False)
    async with reader:
        entries = [entry async for entry in reader]
    assert indexes_of(entries) == expected
    assert all(entry.key == events_key(stream_id) for entry in entries)


def test_reads_without_an_event_loop(redis_server: EmbeddedRedis, stream_id: str) -> None:
    async def publish() -> None:
        async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
            await sink.publish(events_of(stream_id, range(700)))

    asyncio.run(publish())
    reader = RedisReader(SETTINGS, redis_url=redis_server.url, stream_ids=[stream_id], start="start", follow=False)
    assert indexes_of(list(reader.iterate())) == list(range(700))


def test_reading_without_an_event_loop_may_stop_early(redis_server: EmbeddedRedis, stream_id: str) -> None:
    async def publish() -> None:
        async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
            await sink.publish(events_of(stream_id, range(3)))

    asyncio.run(publish())
    entries = RedisReader(SETTINGS, redis_url=redis_server.url, stream_ids=[stream_id], start="start").iterate()
    assert isinstance(next(entries).event, EmotionEvent)
    entries.close()  # type: ignore[attr-defined]


async def test_follows_what_comes_after_it_began(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(3)))
    async with RedisReader(SETTINGS, redis_url=redis_server.url, stream_ids=[stream_id]) as reader:
        following = asyncio.create_task(take(reader, 4))
        await asyncio.sleep(0.3)
        for index in range(3, 7):
            await sink.publish(events_of(stream_id, [index]))
        assert indexes_of(await following) == [3, 4, 5, 6]


async def test_follows_streams_that_appear_later(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(f"{stream_id}-old", range(3)))
    async with RedisReader(SETTINGS, redis_url=redis_server.url) as reader:
        following = asyncio.create_task(take(reader, 5))
        await asyncio.sleep(0.3)
        await sink.publish(events_of(f"{stream_id}-new", range(5)))
        entries = await following
    assert indexes_of(entries) == [0, 1, 2, 3, 4]
    assert {entry.event.stream_id for entry in entries} == {f"{stream_id}-new"}


async def test_goes_on_after_an_entry(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(10)))

    async def read(start: Start) -> list[EventEntry]:
        reader = RedisReader(SETTINGS, redis_url=redis_server.url, stream_ids=[stream_id], start=start, follow=False)
        async with reader:
            return [entry async for entry in reader]

    first = await read("start")
    assert indexes_of(await read(first[3].entry_id)) == [4, 5, 6, 7, 8, 9]


async def test_reads_several_streams_and_status_events(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    names = [f"{stream_id}-{number}" for number in range(3)]
    for name in names:
        await sink.publish(events_of(name, range(300)))
    await sink.publish_status(STATUS)
    reader = RedisReader(
        SETTINGS, redis_url=redis_server.url, stream_ids=names, start="start", follow=False, with_status=True
    )
    async with reader:
        entries = [entry async for entry in reader]
    for name in names:
        assert indexes_of([entry for entry in entries if entry.event.stream_id == name]) == list(range(300))
    assert any(isinstance(entry.event, StatusEvent) and entry.event == STATUS for entry in entries)


async def test_status_events_alone(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(3)))
    await sink.publish_status(STATUS)
    reader = RedisReader(
        SETTINGS, redis_url=redis_server.url, stream_ids=[], start="start", follow=False, with_status=True
    )
    async with reader:
        events = [entry.event async for entry in reader]
    assert STATUS in events and {type(event) for event in events} == {StatusEvent}


async def test_a_stream_that_does_not_exist_is_empty(redis_server: EmbeddedRedis, stream_id: str) -> None:
    reader = RedisReader(SETTINGS, redis_url=redis_server.url, stream_ids=[stream_id], start="start", follow=False)
    async with reader:
        assert [entry async for entry in reader] == []


async def test_hostile_entries_are_left_out_and_counted(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    key = events_key(stream_id)
    hostile: list[dict[str, str | bytes]] = [
        {"event": "{"},
        {"event": b"\xff\xfe"},
        {"other": "1"},
        {b"\xff": b"\xff"},  # type: ignore[dict-item]
        {"event": "[" * 10_000},
        {"event": '{"schema_version":2}'},
    ]
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        for number, fields in enumerate(hostile):
            await client.xadd(key, fields, id=f"1-{number + 1}")  # type: ignore[arg-type]
    await sink.publish(events_of(stream_id, range(2)))
    reader = RedisReader(SETTINGS, redis_url=redis_server.url, stream_ids=[stream_id], start="start", follow=False)
    async with reader:
        assert indexes_of([entry async for entry in reader]) == [0, 1]
    assert reader.num_rejected == len(hostile)


async def test_goes_on_when_the_server_comes_back(tmp_path: Path, unused_tcp_port: int) -> None:
    server = EmbeddedRedis(data_dir=tmp_path, port=unused_tcp_port, password="p")
    server.start()
    async with (
        RedisSink(SETTINGS, redis_url=server.url) as sink,
        RedisReader(SETTINGS, redis_url=server.url, stream_ids=["door"], start="start") as reader,
    ):
        await sink.publish(events_of("door", range(10)))
        following = asyncio.create_task(take(reader, 20))
        await asyncio.sleep(0.2)
        os.kill(server.server_pid, signal.SIGKILL)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        await sink.publish(events_of("door", range(10, 20)))
        assert indexes_of(await following) == list(range(20))
    await asyncio.to_thread(server.stop)


async def test_a_server_that_stays_away_is_an_error(unused_tcp_port: int) -> None:
    settings = PublishSettings(connect_timeout_seconds=1, max_retry_seconds=0.1)
    async with RedisReader(settings, redis_url=f"redis://:secret@127.0.0.1:{unused_tcp_port}") as reader:
        with pytest.raises(SinkUnavailableError, match=r"\*\*\*@127\.0\.0\.1"):
            await take(reader, 1)


@pytest.mark.parametrize("start", ["yesterday", "1-2-3", "-5", "5-", "١"])
def test_a_start_that_is_not_understood_is_refused(start: str) -> None:
    with pytest.raises(ConfigError):
        RedisReader(SETTINGS, redis_url="redis://localhost", start=start)
