"""A server whose memory is really used up: many streams do not fill it, other data does, and old events go."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from emostream.client import ConsumerGroup
from emostream.config import PublishSettings, RetentionSettings
from emostream.domain.clock import utc_now
from emostream.domain.event import EmotionEvent, SummaryEvent
from emostream.domain.machine_limits import usable_memory_bytes
from emostream.domain.stream import StreamState
from emostream.errors import ConfigError, SinkUnavailableError
from emostream.publish.redis.connection import open_redis, with_retries
from emostream.publish.redis.embedded import EmbeddedRedis, find_server
from emostream.publish.redis.groups import ServerMemory, StoredEvents, bytes_for_events, cut_for
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import STATUS_KEY, SUMMARIES_KEY, events_key
from tests.client.test_group import indexes_of, take
from tests.integration.command_line import run_emostream
from tests.media import make_clip
from tests.ports import unused_port
from tests.publish.redis.test_sink import read_indexes
from tests.publish.samples import CAPTURED_AT, EPOCH, STATUS, events_of

MIB = 1 << 20
SETTINGS = PublishSettings(connect_timeout_seconds=5, max_retry_seconds=0.5)

sizes = st.integers(1000, 1 << 40)
streams = st.lists(
    st.builds(
        lambda num_bytes, first, span: StoredEvents(num_bytes, first, first + span),
        st.integers(1, 1 << 30),
        st.integers(0, 1 << 41),
        st.integers(0, 1 << 30),
    ),
    min_size=1,
    max_size=20,
)


# --- pure -------------------------------------------------------------------------------------------------------------


@given(sizes, sizes, sizes, st.floats(0.01, 0.95))
def test_events_get_at_least_a_quarter_of_their_share_and_never_more_than_it(
    used: int, max_bytes: int, event_bytes: int, share: float
) -> None:
    memory = ServerMemory(used_bytes=used, max_bytes=max_bytes)
    bound = bytes_for_events(memory, event_bytes=event_bytes, max_share=share, max_bytes=None)
    assert round(share * max_bytes) // 4 <= bound <= round(share * max_bytes)
    assert bytes_for_events(memory, event_bytes=event_bytes, max_share=share, max_bytes=7) == min(bound, 7)


@given(streams, st.floats(0, 1))
def test_the_requested_number_of_events_lies_before_the_cut(stored: list[StoredEvents], share: float) -> None:
    wanted = round(share * sum(found.num_bytes for found in stored if found.last_ms > found.first_ms))
    cut_ms = cut_for(stored, wanted)
    assert min(found.first_ms for found in stored) <= cut_ms <= max(found.last_ms for found in stored)
    before = [
        found.num_bytes * min(max((cut_ms - found.first_ms) / (found.last_ms - found.first_ms), 0), 1)
        for found in stored
        if found.last_ms > found.first_ms
    ]
    per_ms = [found.num_bytes / (found.last_ms - found.first_ms) for found in stored if found.last_ms > found.first_ms]
    assert sum(before) == pytest.approx(wanted, abs=2 * sum(per_ms) + 1)


# --- a real server ----------------------------------------------------------------------------------------------------


@contextmanager
def small_server(megabytes: int) -> Iterator[EmbeddedRedis]:
    """One that is full soon."""
    with EmbeddedRedis(max_memory_bytes=megabytes * MIB) as server:
        yield server


def summary_of(stream_id: str, epoch: int) -> SummaryEvent:
    """A summary of a frame without faces."""
    return SummaryEvent(stream_id, epoch, 0, CAPTURED_AT, CAPTURED_AT, 0.0, 0.0, 1, 0, 0, 0)


async def fill(client: Redis) -> None:
    """Fill a server with data that is not ours, to the last kilobytes."""
    for size in (64 << 10, 4 << 10, 256):
        number = 0
        try:
            while True:
                await client.set(f"foreign:{size}:{number}", b"x" * size)
                number += 1
        except OutOfMemoryError:
            pass


@pytest.fixture
async def full_server() -> AsyncIterator[tuple[EmbeddedRedis, Redis]]:
    """A server that holds 200 events of the stream `door`, and other data up to its bound."""
    with small_server(6) as server:
        async with RedisSink(SETTINGS, redis_url=server.url) as sink:
            await sink.publish(events_of("door", range(200)))
        async with open_redis(server.url, timeout_seconds=5) as client:
            await client.xgroup_create(events_key("door"), "alarms", "0")
            await fill(client)
            yield server, client


@pytest.mark.integration
async def test_the_embedded_server_is_bounded_and_drops_nothing_by_itself() -> None:
    with EmbeddedRedis() as server, small_server(5) as small:
        for url, expected in ((server.url, usable_memory_bytes() // 4), (small.url, 5 * MIB)):
            async with open_redis(url, timeout_seconds=5) as client:
                found = await client.config_get("maxmemory*")
            assert (int(found["maxmemory"] or 0), found["maxmemory-policy"]) == (expected, "noeviction")


@pytest.mark.integration
@pytest.mark.parametrize("megabytes", [3, 5, 8])
async def test_many_streams_do_not_fill_the_server(megabytes: int) -> None:
    """12 MB of events of 40 streams, most of which have ended, none of which is near its own bound."""
    with small_server(megabytes) as server:
        async with (
            RedisSink(SETTINGS, redis_url=server.url) as sink,
            open_redis(server.url, timeout_seconds=5) as client,
        ):
            for round_number in range(20):
                for number in range(2 * round_number, 2 * round_number + 2):
                    first = 10_000 * round_number
                    await sink.publish(events_of(f"s{number}", range(first, first + 256)))
                    await sink.publish_status(replace(STATUS, stream_id=f"s{number}"))
            memory = await client.info("memory")
            assert memory["used_memory"] < megabytes * MIB
            assert sink.stats.num_published == 20 * 2 * 257
            assert sink.memory.stats.num_trimmed > 0
            lengths = [await client.xlen(events_key(f"s{number}")) for number in range(40)]
        newest = [(await read_indexes(server.url, f"s{number}"))[-1] for number in (38, 39)]
        assert newest == [(EPOCH, 190_255)] * 2, "nothing new is missing"
        assert lengths[-2:] == [256, 256], "the oldest of all streams go, not those of the one that publishes"
        assert all(lengths), "the newest entry of a stream stays: it tells what was published already"
        assert sorted(lengths) == lengths or lengths[0] < lengths[-1]


@pytest.mark.integration
async def test_a_group_is_warned_of_what_goes_before_its_time() -> None:
    settings = SETTINGS.model_copy(update={"group_check_seconds": 0})
    with small_server(4) as server:
        async with (
            RedisSink(settings, redis_url=server.url) as sink,
            open_redis(server.url, timeout_seconds=5) as client,
        ):
            await sink.publish(events_of("door", range(10)))
            await client.xgroup_create(events_key("door"), "slow", "0")
            await client.xreadgroup("slow", "a", {events_key("door"): ">"}, count=5, noack=True)
            for start in range(10, 5130, 256):
                await sink.publish(events_of("door", range(start, start + 256)))
        assert sink.memory.stats.num_trimmed > 0
        assert sink.stats.num_behind_warnings == 1


@pytest.mark.integration
async def test_a_number_of_bytes_bounds_events_as_well(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = SETTINGS.model_copy(update={"max_memory_bytes": MIB})
    async with (
        RedisSink(settings, redis_url=redis_server.url) as sink,
        open_redis(redis_server.url, timeout_seconds=5) as client,
    ):
        await client.flushall()
        for start in range(0, 3072, 256):
            await sink.publish(events_of(stream_id, range(start, start + 256)))
        await sink.memory.look(is_full=True)  # as a refused event makes it look; otherwise it does every ten seconds
        assert 0.5 * MIB < (await client.memory_usage(events_key(stream_id), samples=0) or 0) <= MIB
        assert sink.memory.stats.max_bytes == usable_memory_bytes() // 4


def events_at(stream_id: str, number: int, *, ahead: timedelta) -> list[EmotionEvent]:
    """256 events, a second apart, the newest of them `ahead` of now."""
    newest = utc_now() + ahead
    return [
        replace(event, captured_at=newest - timedelta(seconds=255 - index))
        for index, event in enumerate(events_of(stream_id, range(256 * number, 256 * number + 256)))
    ]


@pytest.mark.integration
@pytest.mark.parametrize("others_ahead", [timedelta(hours=2), timedelta(0)])
async def test_a_machine_whose_clock_is_ahead_takes_no_room_from_others(
    redis_server: EmbeddedRedis, others_ahead: timedelta
) -> None:
    settings = SETTINGS.model_copy(update={"max_memory_bytes": MIB})
    async with (
        RedisSink(settings, redis_url=redis_server.url) as sink,
        open_redis(redis_server.url, timeout_seconds=5) as client,
    ):
        await client.flushall()
        for number in range(8):
            await sink.publish(events_at("true", number, ahead=timedelta(0)))
            await sink.publish(events_at("ahead", number, ahead=others_ahead))
        await sink.memory.look(is_full=True)
        kept = {name: await client.xlen(events_key(name)) for name in ("true", "ahead")}
    assert sink.memory.stats.num_trimmed > 0
    assert 0.5 < kept["true"] / kept["ahead"] < 2


@pytest.mark.integration
async def test_one_event_of_such_a_machine_pushes_out_no_others(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = SETTINGS.model_copy(update={"max_age_seconds": 600.0})
    async with (
        RedisSink(settings, redis_url=redis_server.url) as sink,
        open_redis(redis_server.url, timeout_seconds=5) as client,
    ):
        await sink.publish(events_at(stream_id, 0, ahead=timedelta(0)))
        await sink.publish(events_at(stream_id, 1, ahead=timedelta(hours=2)))
        assert await client.xlen(events_key(stream_id)) == 512
        # Without such a machine, and for the events of one that went by its own clock in the past, it is as ever.
        await sink.publish(events_at("old", 0, ahead=timedelta(hours=-3)))
        await sink.publish(events_at("old", 1, ahead=timedelta(hours=-2)))
        assert await client.xlen(events_key("old")) < 512


@pytest.mark.integration
async def test_of_a_full_server_only_new_events_suffer(full_server: tuple[EmbeddedRedis, Redis]) -> None:
    server, client = full_server
    async with RedisSink(SETTINGS, redis_url=server.url) as sink:
        with pytest.raises(SinkUnavailableError):
            await sink.publish(events_of("door", range(200, 456)))
        with pytest.raises(SinkUnavailableError):
            await sink.publish_summary(summary_of("door", EPOCH))
        assert len(await read_indexes(server.url, "door")) == 200, "what is there stays, and can be read"
        await sink.publish_status(replace(STATUS, state=StreamState.RUNNING))
        assert await client.xlen(STATUS_KEY) == 1
        async with ConsumerGroup(server.url, group="alarms", streams=["door"]) as group:
            assert indexes_of(await take(group, 200)) == list(range(200)), "a group goes on, and acknowledges"
        await client.delete(*await client.keys("foreign:65536:*"))
        await sink.publish(events_of("door", range(200, 456)))
    assert await read_indexes(server.url, "door") == [(EPOCH, index) for index in range(456)]


@pytest.mark.integration
async def test_a_stream_at_its_length_goes_on_where_the_server_is_full() -> None:
    """What is due goes before the new comes."""
    settings = SETTINGS.model_copy(update={"max_events_per_stream": 200})
    with small_server(6) as server:
        async with (
            RedisSink(SETTINGS, redis_url=server.url) as sink,
            open_redis(server.url, timeout_seconds=5) as client,
        ):
            await sink.publish(events_of("door", range(600)))
            await fill(client)
            bounded = RedisSink(settings, redis_url=server.url)
            for start in range(600, 6000, 200):
                await bounded.publish(events_of("door", range(start, start + 200)))
            await bounded.close()
            assert await client.xlen(events_key("door")) < 310
            assert (await client.info("memory"))["used_memory"] < 6.2 * MIB
        assert (await read_indexes(server.url, "door"))[-1] == (EPOCH, 5999)


# --- what ended goes --------------------------------------------------------------------------------------------------


@pytest.mark.integration
async def test_a_stream_without_events_expires_and_one_that_goes_on_does_not(
    redis_server: EmbeddedRedis, stream_id: str
) -> None:
    settings = SETTINGS.model_copy(
        update={"max_idle_seconds": 0.5, "retention": {f"{stream_id}-kept": RetentionSettings(max_idle_seconds=60)}}
    )
    async with (
        RedisSink(settings, redis_url=redis_server.url) as sink,
        open_redis(redis_server.url, timeout_seconds=5) as client,
    ):
        await sink.publish(events_of(f"{stream_id}-ended", [0]))
        await sink.publish(events_of(f"{stream_id}-kept", [0]))
        for index in range(8):
            await sink.publish(events_of(f"{stream_id}-lives", [index]))
            await asyncio.sleep(0.1)
        names = [name for name in ("ended", "kept", "lives") if await client.exists(events_key(f"{stream_id}-{name}"))]
        assert names == ["kept", "lives"]
        assert await client.xlen(events_key(f"{stream_id}-lives")) == 8


@pytest.mark.integration
async def test_the_default_is_a_week_and_none_keeps_events_for_good(
    redis_server: EmbeddedRedis, stream_id: str
) -> None:
    async with open_redis(redis_server.url, timeout_seconds=5) as client:
        for settings, expected in (
            (SETTINGS, 7 * 86_400),
            (SETTINGS.model_copy(update={"max_age_seconds": 3600.0}), 3600),
            (SETTINGS.model_copy(update={"max_idle_seconds": None}), -1),
        ):
            async with RedisSink(settings, redis_url=redis_server.url) as sink:
                await sink.publish(events_of(stream_id, [await client.xlen(events_key(stream_id))]))
            assert await client.ttl(events_key(stream_id)) == pytest.approx(expected, abs=5)


@pytest.mark.integration
async def test_old_status_and_summary_events_go(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = SETTINGS.model_copy(update={"max_idle_seconds": 0.2})
    async with (
        RedisSink(settings, redis_url=redis_server.url) as sink,
        open_redis(redis_server.url, timeout_seconds=5) as client,
    ):
        await client.delete(STATUS_KEY, SUMMARIES_KEY)
        for number in range(250):  # whole nodes of the server's tree go, of at most 100 entries
            await sink.publish_status(replace(STATUS, stream_id=stream_id, epoch=EPOCH + number))
            await sink.publish_summary(summary_of(stream_id, EPOCH + number))
        await asyncio.sleep(0.3)
        await sink.publish_status(replace(STATUS, stream_id=stream_id, epoch=EPOCH + 999))
        await sink.publish_summary(summary_of(stream_id, EPOCH + 999))
        assert [await client.xlen(key) < 110 for key in (STATUS_KEY, SUMMARIES_KEY)] == [True, True]


# --- a server that drops data by itself -------------------------------------------------------------------------------


@contextmanager
def server_with(max_memory: str, policy: str) -> Iterator[str]:
    """A server of somebody's own; yields its URL."""
    port = unused_port()
    command = [str(find_server()), "--port", str(port), "--save", "", "--maxmemory", max_memory]
    process = subprocess.Popen([*command, "--maxmemory-policy", policy], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("max_memory", "policy", "is_refused"),
    [
        ("20mb", "allkeys-lru", True),
        ("20mb", "volatile-ttl", True),
        ("20mb", "noeviction", False),
        ("0", "allkeys-lru", False),  # never reached
    ],
)
async def test_a_server_that_drops_data_by_itself_is_refused(max_memory: str, policy: str, is_refused: bool) -> None:
    with server_with(max_memory, policy) as url:
        sink = RedisSink(SETTINGS.model_copy(update={"max_retry_seconds": 20}), redis_url=url)
        await sink.publish(events_of("door", [0]))  # waits until it answers
        if is_refused:
            with pytest.raises(ConfigError, match=f"maxmemory-policy {policy}.*noeviction"):
                await sink.check()
        else:
            await sink.check()
        await sink.close()


@pytest.mark.integration
async def test_commands_say_so_before_they_start(tmp_path: Path) -> None:
    with server_with("20mb", "allkeys-lru") as url:
        async with open_redis(url, timeout_seconds=5) as client:
            await with_retries(client.ping, url=url, max_retry_seconds=20)
        clip = make_clip(tmp_path / "clip.mp4", num_frames=3)
        for command in (["serve", "--redis", url], ["analyze", clip, "--redis", url]):
            outcome = await asyncio.to_thread(run_emostream, *command)
            assert (outcome.code, "noeviction" in outcome.err) == (2, True), outcome.err
