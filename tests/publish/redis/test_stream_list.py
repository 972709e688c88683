"""Readers of all streams find them in a list, whatever else the server holds, and without one in its keys."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from emostream.client import ConsumerGroup, EmotionEvents
from emostream.config import PublishSettings
from emostream.publish.redis.connection import open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reads import event_stream_keys
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import STREAMS_KEY, events_key
from tests.client.test_group import take
from tests.publish.samples import events_of

pytestmark = pytest.mark.integration

SETTINGS = PublishSettings(connect_timeout_seconds=5.0, max_retry_seconds=1.0)


@pytest.fixture
async def client(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    async with open_redis(redis_server.url, timeout_seconds=5) as client:
        await client.flushall()
        yield client


async def num_scans(client: Redis) -> int:
    stats = await client.info("commandstats")
    return int(stats.get("cmdstat_scan", {"calls": 0})["calls"])


async def listed(client: Redis) -> set[str]:
    members: set[Any] = await client.smembers(STREAMS_KEY)
    return {member.decode() for member in members}


async def until_listed(client: Redis, names: set[str]) -> None:
    async with asyncio.timeout(10):
        while await listed(client) != names:
            await asyncio.sleep(0.02)


async def test_the_list_has_every_stream_and_is_what_readers_use(redis_server: EmbeddedRedis, client: Redis) -> None:
    # One of an earlier version, which writes no list.
    await client.xadd(events_key("earlier"), {"epoch": 1, "frame_index": 0, "event": "{}"})
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        for name in ("a", "b"):
            await sink.publish(events_of(name, range(3)))
        await until_listed(client, {"a", "b", "earlier"})
        await sink.publish(events_of("c", range(3)))
        await until_listed(client, {"a", "b", "c", "earlier"})
        before = await num_scans(client)
        async with ConsumerGroup(redis_server.url, group="g") as group:
            assert {delivery.event.stream_id for delivery in await take(group, 9)} == {"a", "b", "c"}
        events = [event async for event in EmotionEvents(redis_server.url, start="start", follow=False)]
        assert len(events) == 9
        assert await num_scans(client) == before


async def test_a_listed_stream_that_is_gone_is_not_made_again(redis_server: EmbeddedRedis, client: Redis) -> None:
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        await sink.publish(events_of("a", range(3)))
        await until_listed(client, {"a"})
        await client.sadd(STREAMS_KEY, "gone")
        async with ConsumerGroup(redis_server.url, group="g") as group:
            await take(group, 3)
        assert await client.exists(events_key("gone")) == 0
        assert await event_stream_keys(client) == [events_key("a")]


async def test_readers_and_publishers_without_the_right_to_the_list(redis_server: EmbeddedRedis, client: Redis) -> None:
    names, admin = itertools.count(), cast("Any", client)

    async def url_of(*rights: str) -> str:
        name = f"user{next(names)}"
        await admin.execute_command("ACL", "SETUSER", name, "on", ">x", "~emostream:*", "+@all", *rights)
        return redis_server.url.replace(redis_server.url.split("@")[0], f"redis://{name}:x")

    try:
        async with RedisSink(SETTINGS, redis_url=await url_of("-sadd")) as sink:
            await sink.publish(events_of("a", range(3)))
            await sink.publish(events_of("a", range(3, 5)))
        assert await listed(client) == set()
        for url in (redis_server.url, await url_of("-smembers")):
            assert len([event async for event in EmotionEvents(url, start="start", follow=False)]) == 5
    finally:
        await admin.execute_command("ACL", "DELUSER", "user0", "user1")


@pytest.mark.slow
async def test_events_come_at_once_beside_a_million_foreign_keys() -> None:
    """The median delay of events, with a reader of all streams; a search of all keys took 1 s of every 2."""
    with EmbeddedRedis(max_memory_bytes=1 << 30) as server:
        async with (
            open_redis(server.url, timeout_seconds=60) as client,
            RedisSink(SETTINGS, redis_url=server.url) as sink,
        ):
            await client.eval("for i = 1, 1000000 do redis.call('SET', 'foreign:' .. i, 1) end", 0)
            await sink.publish(events_of("a", [0]))
            await until_listed(client, {"a"})
            received: dict[int, float] = {}

            async def read() -> None:
                async for event in EmotionEvents(server.url):
                    received[event.frame_index] = time.monotonic()

            reading = asyncio.create_task(read())
            sent: dict[int, float] = {}
            await asyncio.sleep(1)
            for index in range(1, 101):
                sent[index] = time.monotonic()
                await sink.publish(events_of("a", [index]))
                await asyncio.sleep(0.03)
            async with asyncio.timeout(10):
                while 100 not in received:
                    await asyncio.sleep(0.02)
            reading.cancel()
    delays = [received[index] - sent[index] for index in sent if index in received]
    print(f"median {1000 * statistics.median(delays):.1f} ms, largest {1000 * max(delays):.1f} ms")
    assert len(delays) > 50
