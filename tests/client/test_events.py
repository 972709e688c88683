"""Subscribing with `for` and `async for`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from emostream.client import BlockingConsumerGroup, ConsumerGroup, EmotionEvents
from emostream.config import PublishSettings
from emostream.errors import ConfigError, UnknownEventStreamError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from tests.publish.samples import events_of

pytestmark = pytest.mark.integration


async def publish(url: str, stream_id: str, *, num_events: int) -> None:
    async with RedisSink(PublishSettings(), redis_url=url) as sink:
        await sink.publish(events_of(stream_id, range(num_events)))


def test_for(redis_server: EmbeddedRedis, stream_id: str) -> None:
    asyncio.run(publish(redis_server.url, stream_id, num_events=600))
    subscription = EmotionEvents(redis_server.url, streams=stream_id, follow=False)
    assert list(subscription) == events_of(stream_id, range(600))
    assert list(subscription) == events_of(stream_id, range(600)), "each loop is a reading of its own"
    rest = EmotionEvents(redis_server.url, streams=[stream_id], start=subscription.positions[stream_id], follow=False)
    assert list(rest) == []


def test_for_may_stop_early(redis_server: EmbeddedRedis, stream_id: str) -> None:
    asyncio.run(publish(redis_server.url, stream_id, num_events=3))
    for event in EmotionEvents(redis_server.url, streams=[stream_id], start="start"):
        assert event.frame_index == 0
        break


async def test_async_for_resumes_after_a_position(redis_server: EmbeddedRedis, stream_id: str) -> None:
    await publish(redis_server.url, stream_id, num_events=5)
    subscription = EmotionEvents(redis_server.url, streams=[stream_id], start="start")
    async for event in subscription:
        if event.frame_index == 2:
            break
    rest = EmotionEvents(redis_server.url, streams=[stream_id], start=subscription.positions[stream_id], follow=False)
    assert [event.frame_index async for event in rest] == [3, 4]


async def test_for_works_where_an_event_loop_runs(redis_server: EmbeddedRedis, stream_id: str) -> None:
    """In a notebook."""
    await publish(redis_server.url, stream_id, num_events=3)
    assert list(EmotionEvents(redis_server.url, streams=stream_id, follow=False)) == events_of(stream_id, range(3))
    with BlockingConsumerGroup(redis_server.url, group="g", streams=stream_id) as group:
        for delivery in group:
            group.ack(delivery)
            if delivery.event.frame_index == 2:
                break
        assert group.stats.num_acknowledged == 3


async def test_a_table_holds_what_there_is(redis_server: EmbeddedRedis, stream_id: str) -> None:
    await publish(redis_server.url, stream_id, num_events=4)
    table = EmotionEvents(redis_server.url, streams=stream_id).to_pandas()
    assert table["frame_index"].tolist() == [0, 1, 2, 3]
    assert set(table["stream_id"]) == {stream_id}


@pytest.mark.parametrize("start", ["start", "now", None])
def test_an_unknown_stream_is_an_error_that_names_what_was_meant(
    redis_server: EmbeddedRedis, stream_id: str, start: str | None
) -> None:
    asyncio.run(publish(redis_server.url, stream_id, num_events=1))
    wrong = stream_id[:-1]
    with pytest.raises(UnknownEventStreamError, match=stream_id) as caught:
        list(EmotionEvents(redis_server.url, streams=[stream_id, wrong], start=start, follow=False))
    assert caught.value.stream_ids == (wrong,)
    with pytest.raises(UnknownEventStreamError):
        EmotionEvents(redis_server.url, streams=wrong).to_pandas()


async def test_following_an_unknown_stream_warns_and_waits_for_it(
    redis_server: EmbeddedRedis, stream_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def first_of_subscription() -> Any:
        async for event in EmotionEvents(redis_server.url, streams=stream_id):
            return event
        return None

    async def first_of_group() -> Any:
        async with ConsumerGroup(redis_server.url, group="g", streams=stream_id) as group:
            async for delivery in group:
                return delivery.event
        return None

    with caplog.at_level(logging.WARNING, "emostream"):
        taking = asyncio.gather(first_of_subscription(), first_of_group())
        async with asyncio.timeout(10):
            while sum(stream_id in record.getMessage() for record in caplog.records) < 2:
                await asyncio.sleep(0.02)
        await publish(redis_server.url, stream_id, num_events=1)
        assert list(await taking) == 2 * events_of(stream_id, [0])


@pytest.mark.parametrize("streams", [[], "", ["door", ""], [3], b"door"], ids=repr)
def test_what_names_no_stream_is_refused(streams: Any) -> None:
    with pytest.raises(ConfigError):
        EmotionEvents("redis://127.0.0.1:9", streams=streams)
    with pytest.raises(ConfigError):
        ConsumerGroup("redis://127.0.0.1:9", group="g", streams=streams)


def test_a_start_that_is_not_understood_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        EmotionEvents("redis://127.0.0.1:9", start="yesterday")


@pytest.mark.parametrize(
    "times", [{"connect_timeout_seconds": 0.0}, {"max_retry_seconds": -1.0}, {"max_retry_seconds": float("nan")}]
)
def test_a_time_out_of_range_is_refused(times: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EmotionEvents("redis://localhost", **times)
