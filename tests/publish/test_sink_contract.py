"""The same behaviour of every sink: in order, whole, status beside, usable after an empty batch, closes once."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.stream import StreamState
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink
from emostream.publish.sink import EventSink
from emostream.publish.sink_group import SinkGroup
from emostream.testing.fakes import CollectingSink
from emostream.wire.events import event_from_json, status_from_json
from tests.publish.samples import STATUS, events_of

Delivered = tuple[list[EmotionEvent], list[StatusEvent]]


@dataclass(frozen=True, slots=True)
class SinkUnderTest:
    """A sink and a way to see what it delivered."""

    sink: EventSink
    delivered: Callable[[], Awaitable[Delivered]]


def events_in_lines(content: bytes) -> Delivered:
    lines = content.decode().splitlines()
    return (
        [event_from_json(line) for line in lines if '"faces"' in line],
        [status_from_json(line) for line in lines if '"state"' in line],
    )


def collecting(_: pytest.FixtureRequest) -> SinkUnderTest:
    sink = CollectingSink()

    async def delivered() -> Delivered:
        return sink.events, sink.statuses

    return SinkUnderTest(sink, delivered)


def jsonl_file(request: pytest.FixtureRequest) -> SinkUnderTest:
    tmp_path: Path = request.getfixturevalue("tmp_path")
    path = tmp_path / "events.jsonl"

    async def delivered() -> Delivered:
        return events_in_lines(path.read_bytes())

    return SinkUnderTest(JsonlSink.to_file(path, with_status=True), delivered)


def jsonl_stream(_: pytest.FixtureRequest) -> SinkUnderTest:
    stream = io.BytesIO()

    async def delivered() -> Delivered:
        return events_in_lines(stream.getvalue())

    return SinkUnderTest(JsonlSink(stream, name="memory", is_owned=False, with_status=True), delivered)


def redis(request: pytest.FixtureRequest) -> SinkUnderTest:
    server: EmbeddedRedis = request.getfixturevalue("redis_server")
    stream_id: str = request.getfixturevalue("stream_id")
    settings: PublishSettings = request.getfixturevalue("publish_settings")

    async def delivered() -> Delivered:
        reader = RedisReader(
            settings, redis_url=server.url, stream_ids=[stream_id], start="start", follow=False, with_status=True
        )
        async with reader:
            entries = [entry.event async for entry in reader]
        return (
            [event for event in entries if isinstance(event, EmotionEvent)],
            [event for event in entries if isinstance(event, StatusEvent)],
        )

    return SinkUnderTest(RedisSink(settings, redis_url=server.url), delivered)


def group(_: pytest.FixtureRequest) -> SinkUnderTest:
    first, second = CollectingSink(), CollectingSink()

    async def delivered() -> Delivered:
        assert first.events == second.events
        return second.events, second.statuses

    return SinkUnderTest(SinkGroup([first, second]), delivered)


SINKS = [collecting, jsonl_file, jsonl_stream, pytest.param(redis, marks=pytest.mark.integration), group]


@pytest.fixture(params=SINKS, ids=["collecting", "jsonl_file", "jsonl_stream", "redis", "group"])
async def under_test(request: pytest.FixtureRequest) -> AsyncIterator[SinkUnderTest]:
    built: SinkUnderTest = request.param(request)
    yield built
    await built.sink.close()


async def test_delivers_in_order_over_several_calls(under_test: SinkUnderTest, stream_id: str) -> None:
    events = events_of(stream_id, range(600))
    for start, end in ((0, 1), (1, 8), (8, 600)):
        await under_test.sink.publish(events[start:end])
    delivered, _ = await under_test.delivered()
    assert delivered == events


async def test_delivers_before_returning(under_test: SinkUnderTest, stream_id: str) -> None:
    for event in events_of(stream_id, range(3)):
        await under_test.sink.publish([event])
        delivered, _ = await under_test.delivered()
        assert delivered[-1] == event


async def test_an_empty_batch_is_nothing(under_test: SinkUnderTest, stream_id: str) -> None:
    await under_test.sink.publish([])
    await under_test.sink.publish(events_of(stream_id, [5]))
    delivered, _ = await under_test.delivered()
    assert [event.frame_index for event in delivered] == [5]


async def test_delivers_status_events(under_test: SinkUnderTest, stream_id: str) -> None:
    started = replace(STATUS, stream_id=stream_id, state=StreamState.RUNNING)
    ended = replace(STATUS, stream_id=stream_id)
    for event in (started, ended):
        await under_test.sink.publish_status(event)
    _, statuses = await under_test.delivered()
    assert [event for event in statuses if event.stream_id == stream_id] == [started, ended]
