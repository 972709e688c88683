"""Consumer groups on a real server: shared, resumed, claimed, buried, and never doubled while they live."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from emostream.client import BlockingConsumerGroup, ConsumerGroup, Delivery, RepeatFilter
from emostream.config import PublishSettings
from emostream.errors import ConfigError
from emostream.publish.redis.connection import open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import dead_letter_key, events_key
from tests.publish.samples import events_of

pytestmark = pytest.mark.integration

SETTINGS = PublishSettings(connect_timeout_seconds=2.0, max_retry_seconds=10.0)


@pytest.fixture
async def sink(redis_server: EmbeddedRedis) -> AsyncIterator[RedisSink]:
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        yield sink


async def take(group: ConsumerGroup, num_events: int, *, ack: bool = True) -> list[Delivery]:
    """The next events of a group; acknowledged one batch at a time if asked for."""
    taken: list[Delivery] = []
    async with asyncio.timeout(60):
        async for batch in group.batches():
            taken += batch
            if ack:
                await group.ack(*batch)
            if len(taken) >= num_events:
                break
    return taken


async def is_quiet(group: ConsumerGroup, *, seconds: float = 0.7) -> bool:
    """Whether the group has nothing to give for a while."""
    try:
        async with asyncio.timeout(seconds):
            async for _ in group:
                return False
    except TimeoutError:
        return True
    return True


def indexes_of(deliveries: list[Delivery]) -> list[int]:
    return [delivery.event.frame_index for delivery in deliveries]


async def test_gives_every_event_once_in_order(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(1200)))
    async with ConsumerGroup(redis_server.url, group="g", streams=[stream_id]) as group:
        assert indexes_of(await take(group, 1200)) == list(range(1200))
        assert await is_quiet(group)
        assert (group.stats.num_delivered, group.stats.num_acknowledged) == (1200, 1200)


async def test_two_consumers_share_the_work(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(60)))
    async with (
        ConsumerGroup(redis_server.url, group="g", consumer="a", streams=[stream_id], batch_size=10) as first,
        ConsumerGroup(redis_server.url, group="g", consumer="b", streams=[stream_id], batch_size=10) as second,
    ):
        taken = await asyncio.gather(take(first, 30), take(second, 30))
    assert sorted(indexes_of(taken[0]) + indexes_of(taken[1])) == list(range(60))


async def test_what_was_not_acknowledged_comes_again_after_a_restart(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    await sink.publish(events_of(stream_id, range(10)))
    async with ConsumerGroup(redis_server.url, group="g", consumer="a", streams=[stream_id]) as group:
        taken = await take(group, 10, ack=False)
        await group.ack(*taken[:4])
        assert await is_quiet(group), "what a living consumer holds is not given out twice"
    repeats = RepeatFilter()
    assert [repeats.is_new(delivery.event) for delivery in taken] == [True] * 10
    async with ConsumerGroup(redis_server.url, group="g", consumer="a", streams=[stream_id]) as group:
        again = await take(group, 6)
        assert indexes_of(again) == [4, 5, 6, 7, 8, 9]
        assert {delivery.num_deliveries for delivery in again} == {2}
        assert not any(repeats.is_new(delivery.event) for delivery in again)
        await sink.publish(events_of(stream_id, [10]))
        assert indexes_of(await take(group, 1)) == [10]


async def test_abandoned_events_are_taken_over(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(10)))
    async with ConsumerGroup(redis_server.url, group="g", consumer="gone", streams=[stream_id]) as gone:
        await take(gone, 10, ack=False)
    async with ConsumerGroup(
        redis_server.url, group="g", consumer="b", streams=[stream_id], claim_after_seconds=0.2
    ) as group:
        await asyncio.sleep(0.3)
        assert indexes_of(await take(group, 10)) == list(range(10))
        assert group.stats.num_claimed == 10


async def test_holding_an_event_for_long_does_not_count_as_giving_it_out(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    await sink.publish(events_of(stream_id, [0]))
    async with ConsumerGroup(
        redis_server.url, group="g", consumer="slow", streams=[stream_id], claim_after_seconds=0.1
    ) as group:
        await take(group, 1, ack=False)
        assert await is_quiet(group, seconds=2.5), "it claims nothing of its own"
    async with ConsumerGroup(redis_server.url, group="g", consumer="slow", streams=[stream_id]) as group:
        (again,) = await take(group, 1)
        assert again.num_deliveries == 2


async def test_an_event_that_always_fails_becomes_a_dead_letter(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    name = f"dead-{stream_id}"
    await sink.publish(events_of(stream_id, range(2)))
    for attempt in (1, 2):
        async with ConsumerGroup(
            redis_server.url, group=name, consumer="a", streams=[stream_id], max_deliveries=2
        ) as group:
            taken = await take(group, 2, ack=False)
            assert {delivery.num_deliveries for delivery in taken} == {attempt}
            await group.ack(taken[0]) if attempt == 2 else None
    async with ConsumerGroup(
        redis_server.url, group=name, consumer="a", streams=[stream_id], max_deliveries=2
    ) as group:
        assert await is_quiet(group)
        assert group.stats.num_dead == 1
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        ((_, letter),) = await client.xrange(dead_letter_key(name))  # type: ignore[misc]
        pending = await client.xpending(events_key(stream_id), name)
    assert letter[b"dead_key"] == events_key(stream_id).encode()  # type: ignore[index]
    assert letter[b"frame_index"] == b"1"  # type: ignore[index]
    assert pending["pending"] == 0


async def test_hostile_entries_are_buried_and_do_not_stop_the_group(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    await sink.publish(events_of(stream_id, [0]))
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        for fields in ({"event": "[" * 10_000}, {b"\xff": b"\xfe"}, {"event": "{}"}):
            await client.xadd(events_key(stream_id), fields)  # type: ignore[arg-type]
    async with ConsumerGroup(redis_server.url, group=f"h-{stream_id}", streams=[stream_id]) as group:
        assert indexes_of(await take(group, 1)) == [0]
        assert await is_quiet(group)
        assert group.stats.num_dead == 3


async def test_trimmed_entries_are_counted(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(4)))
    async with ConsumerGroup(redis_server.url, group="g", consumer="a", streams=[stream_id]) as group:
        await take(group, 4, ack=False)
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        await client.xtrim(events_key(stream_id), maxlen=1, approximate=False)
    async with ConsumerGroup(redis_server.url, group="g", consumer="a", streams=[stream_id]) as group:
        assert indexes_of(await take(group, 1)) == [3]
        assert group.stats.num_trimmed == 3


async def test_begins_at_the_given_entry(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(3)))
    async with ConsumerGroup(redis_server.url, group="now", streams=[stream_id], start="now") as group:
        taking = asyncio.create_task(take(group, 1))
        await asyncio.sleep(0.3)
        await sink.publish(events_of(stream_id, [3]))
        assert indexes_of(await taking) == [3]
    with pytest.raises(ConfigError):
        ConsumerGroup(redis_server.url, group="g", start="yesterday")


async def test_all_streams_also_new_ones(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    async with ConsumerGroup(redis_server.url, group=f"all-{stream_id}", start="now") as group:
        taking = asyncio.create_task(take(group, 2))
        await asyncio.sleep(0.3)
        await sink.publish(events_of(f"{stream_id}-new", [0, 1]))
        assert indexes_of(await taking) == [0, 1]


async def test_a_removed_group_is_made_again(redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str) -> None:
    await sink.publish(events_of(stream_id, range(2)))
    async with ConsumerGroup(redis_server.url, group="g", streams=[stream_id]) as group:
        await take(group, 2)
        async with open_redis(redis_server.url, timeout_seconds=2) as client:
            await client.xgroup_destroy(events_key(stream_id), "g")
        assert indexes_of(await take(group, 2)) == [0, 1]


@pytest.mark.parametrize("is_stream_gone", [True, False])
async def test_a_missing_group_makes_no_other_stream_repeat(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str, is_stream_gone: bool
) -> None:
    names = [f"{stream_id}-{number}" for number in range(3)]
    for name in names:
        await sink.publish(events_of(name, range(4)))
    async with (
        ConsumerGroup(redis_server.url, group="g", streams=names) as group,
        open_redis(redis_server.url, timeout_seconds=5) as client,
    ):
        held = await take(group, 12, ack=False)
        if is_stream_gone:
            await client.delete(events_key(names[1]))
        else:
            await client.xgroup_destroy(events_key(names[1]), "g")
        assert is_stream_gone == await is_quiet(group, seconds=2.0)  # a group that is made again begins anew
        for name in names:
            await sink.publish(events_of(name, range(4, 6)))
        again = await take(group, 6 if is_stream_gone else 9, ack=False)
        seen: dict[str, list[int]] = {delivery.key: [] for delivery in again}
        for delivery in again:
            seen[delivery.key].append(delivery.event.frame_index)
        assert seen[events_key(names[0])] == seen[events_key(names[2])] == [4, 5]
        assert seen[events_key(names[1])][-2:] == [4, 5]
        for name in (names[0], names[2]):
            pending = await client.xpending_range(events_key(name), "g", min="-", max="+", count=10)
            assert [entry["times_delivered"] for entry in pending] == [1] * 6
        await group.ack(*held, *again)


async def test_a_slow_consumer_whose_connection_breaks_gets_nothing_twice(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    await sink.publish(events_of(stream_id, range(5)))
    async with (
        ConsumerGroup(redis_server.url, group="g", streams=[stream_id], max_deliveries=2) as group,
        open_redis(redis_server.url, timeout_seconds=5) as client,
    ):
        held = await take(group, 5, ack=False)
        for _ in range(4):
            await client.client_kill_filter(_type="normal", skipme=True)
            assert await is_quiet(group)
        pending = await client.xpending_range(events_key(stream_id), "g", min="-", max="+", count=10)
        assert [entry["times_delivered"] for entry in pending] == [1] * 5
        assert group.stats.num_dead == 0
        await sink.publish(events_of(stream_id, range(5, 7)))
        assert indexes_of(await take(group, 2, ack=False)) == [5, 6]
        await group.ack(*held)


async def test_connections_cut_at_random_neither_lose_nor_double(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    num_events = 3000
    is_done = asyncio.Event()

    async def cut_connections() -> None:
        async with open_redis(redis_server.url, timeout_seconds=2) as client:
            for _ in range(60):  # bounded: a busy machine may get no further than one round trip between two cuts
                if is_done.is_set():
                    return
                await client.client_kill_filter(_type="normal", skipme=True)
                await asyncio.sleep(0.02)

    await sink.publish(events_of(stream_id, range(num_events)))
    cutting = asyncio.create_task(cut_connections())
    async with ConsumerGroup(redis_server.url, group="g", streams=[stream_id], batch_size=20) as group:
        taken = await take(group, num_events)
        is_done.set()
        await cutting
    assert indexes_of(taken) == list(range(num_events))


async def test_a_loop_that_is_left_or_cancelled_loses_nothing(
    redis_server: EmbeddedRedis, sink: RedisSink, stream_id: str
) -> None:
    """Left within a batch, or cancelled while the server answers: the next loop goes on with the next event."""
    num_events, chance = 400, random.Random(3)
    await sink.publish(events_of(stream_id, range(num_events)))
    seen: list[int] = []

    async def read(group: ConsumerGroup, num_wanted: int) -> None:
        async for delivery in group:
            seen.append(delivery.event.frame_index)
            await group.ack(delivery)
            if len(seen) >= num_wanted:
                return

    async with ConsumerGroup(redis_server.url, group="g", streams=[stream_id], batch_size=7) as group:
        while len(seen) < num_events:
            reading = asyncio.create_task(read(group, min(num_events, len(seen) + chance.randint(1, 10))))
            for _ in range(chance.randint(0, 80)):
                await asyncio.sleep(0)
            if chance.random() < 0.7:
                reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    assert seen == list(range(num_events))


def test_works_without_an_event_loop(redis_server: EmbeddedRedis, stream_id: str) -> None:
    async def publish() -> None:
        async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
            await sink.publish(events_of(stream_id, range(5)))

    asyncio.run(publish())
    seen: list[int] = []
    with BlockingConsumerGroup(redis_server.url, group="g", streams=[stream_id]) as group:
        while len(seen) < 5:
            for delivery in group:
                seen.append(delivery.event.frame_index)
                group.ack(delivery)
                if len(seen) % 2 == 1:
                    break  # what was fetched with it comes in the next loop
        assert group.stats.num_acknowledged == 5
    assert seen == [0, 1, 2, 3, 4]
