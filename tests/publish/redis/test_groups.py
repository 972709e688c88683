"""How long events stay, and warnings before a consumer group loses some."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.client import ConsumerGroup
from emostream.config import PublishSettings, RetentionSettings
from emostream.domain.event import StatusEvent
from emostream.publish.redis.connection import open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.groups import BehindWarnings, GroupPosition, StreamExtent, num_behind, used_share
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import events_key
from tests.publish.redis.test_sink import read_indexes
from tests.publish.samples import events_of

STREAM = StreamExtent(length=1000, first=(0, 0), last=(100_000, 0))
shares = st.lists(st.floats(0, 1.5), max_size=40)


@given(st.integers(0, 100_000))
def test_the_estimate_is_right_for_an_even_stream(done_ms: int) -> None:
    estimated = num_behind(GroupPosition("g", (done_ms, 0), None), STREAM)
    assert estimated == pytest.approx((100_000 - done_ms) / 100, abs=1)


def test_a_group_before_the_oldest_entry_is_behind_by_everything() -> None:
    late = StreamExtent(length=500, first=(5000, 0), last=(9000, 0))
    assert num_behind(GroupPosition("g", (1000, 0), None), late) == 500
    assert num_behind(GroupPosition("g", (9000, 0), None), late) == 0
    assert num_behind(GroupPosition("g", (9000, 0), 900), late) == 500


def test_time_counts_as_well_as_length() -> None:
    group = GroupPosition("g", (10_000, 0), 10)
    assert used_share(group, STREAM, max_events=1000, max_age_seconds=None) == 0.01
    assert used_share(group, STREAM, max_events=1000, max_age_seconds=100) == 0.9


@given(shares)
def test_a_warning_comes_once_until_the_group_caught_up(shares: list[float]) -> None:
    warnings = BehindWarnings()
    armed = True
    for share in shares:
        expected = ["g"] if armed and share >= 0.8 else []
        assert warnings.update("door", [("g", share)]) == expected
        armed = share < 0.5 or (armed and not expected)


def test_a_stream_that_ended_is_warned_about_anew() -> None:
    warnings = BehindWarnings()
    assert warnings.update("door", [("g", 0.9)]) == warnings.update("yard", [("g", 0.9)]) == ["g"]
    warnings.forget("door")
    assert warnings.update("door", [("g", 0.9)]) == ["g"]
    assert warnings.update("yard", [("g", 0.9)]) == []


async def statuses_of(url: str, stream_id: str) -> list[StatusEvent]:
    """All status events of a stream."""
    async with RedisReader(
        PublishSettings(), redis_url=url, stream_ids=[stream_id], start="start", follow=False, with_status=True
    ) as reader:
        return [
            entry.event
            async for entry in reader
            if isinstance(entry.event, StatusEvent) and entry.event.stream_id == stream_id
        ]


@pytest.mark.integration
async def test_events_go_after_their_time(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = PublishSettings(max_age_seconds=60)
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, range(3000)))  # 120 s
    indexes = [index for _, index in await read_indexes(redis_server.url, stream_id)]
    # Trimming is approximate: whole nodes of 100 entries go.
    assert 1500 <= len(indexes) <= 1700
    assert indexes[-1] == 2999
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        remaining_ms = await client.pttl(events_key(stream_id))
    assert 0 < remaining_ms <= 60_000, "the last events go as well when no more come"


@pytest.mark.integration
async def test_a_stream_may_have_a_retention_of_its_own(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = PublishSettings(retention={stream_id: RetentionSettings(max_events=200)})
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, range(1000)))
        await sink.publish(events_of(f"{stream_id}-b", range(1000)))
    assert 200 <= len(await read_indexes(redis_server.url, stream_id)) <= 400
    assert len(await read_indexes(redis_server.url, f"{stream_id}-b")) == 1000


@pytest.mark.integration
async def test_warns_before_trimming_overtakes_a_group(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = PublishSettings(max_events_per_stream=1000, group_check_seconds=0)
    async with (
        RedisSink(settings, redis_url=redis_server.url) as sink,
        ConsumerGroup(redis_server.url, group="slow", streams=[stream_id]) as group,
    ):
        await sink.publish(events_of(stream_id, range(500)))
        async for batch in group.batches():
            await group.ack(*batch[:100])
            break
        assert sink.stats.num_behind_warnings == 0
        await sink.publish(events_of(stream_id, range(500, 900)))
        (warning,) = await statuses_of(redis_server.url, stream_id)
        assert (warning.kind, warning.state) == ("consumer_behind", "running")
        assert "slow" in warning.detail
        await sink.publish(events_of(stream_id, range(900, 950)))
        assert sink.stats.num_behind_warnings == 1, "once is enough"
        assert len(await read_indexes(redis_server.url, stream_id)) == 950, "the warning came before trimming"
