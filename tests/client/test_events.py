"""Subscribing with `for` and `async for`."""

from __future__ import annotations

import asyncio

import pytest

from emostream.client import EmotionEvents
from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from tests.publish.samples import events_of

pytestmark = pytest.mark.integration


async def publish(url: str, stream_id: str, *, num_events: int) -> None:
    async with RedisSink(PublishSettings(), redis_url=url) as sink:
        await sink.publish(events_of(stream_id, range(num_events)))


def test_for(redis_server: EmbeddedRedis, stream_id: str) -> None:
    asyncio.run(publish(redis_server.url, stream_id, num_events=600))
    subscription = EmotionEvents(redis_server.url, streams=[stream_id], start="start", follow=False)
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
