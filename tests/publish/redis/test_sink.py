"""Publishing to a real server: once, in order, bounded, through restarts, and with clear errors."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamState
from emostream.errors import ConfigError, EventRejectedError, SinkUnavailableError
from emostream.publish.redis.connection import close_redis, open_redis
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink
from emostream.wire.keys import STATUS_KEY, events_key, fence_key
from tests.publish.samples import CAPTURED_AT, EPOCH, EVENT, STATUS, events_of

pytestmark = pytest.mark.integration

PATIENT = PublishSettings(connect_timeout_seconds=2.0, max_retry_seconds=20.0)


async def read_indexes(url: str, stream_id: str) -> list[tuple[int, int]]:
    """(epoch, frame index) of all entries of a stream, in order."""
    async with RedisReader(PATIENT, redis_url=url, stream_ids=[stream_id], start="start", follow=False) as reader:
        events = [entry.event async for entry in reader]
        assert reader.num_rejected == 0
    return [(event.epoch, event.frame_index) for event in events if isinstance(event, EmotionEvent)]


async def entry_ids(url: str, key: str) -> list[str]:
    """Ids of all entries of an event stream."""
    async with open_redis(url, timeout_seconds=2) as client:
        return [entry_id.decode() for entry_id, _ in await client.xrange(key)]  # type: ignore[union-attr]


# --- once and in order ------------------------------------------------------------------------------------------------


async def test_publishing_again_adds_only_what_is_missing(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, range(5)))
        await sink.publish(events_of(stream_id, range(8)))
        assert (sink.stats.num_published, sink.stats.num_repeated) == (8, 5)
    assert await read_indexes(redis_server.url, stream_id) == [(EPOCH, index) for index in range(8)]


async def test_entry_ids_are_capture_time_and_frame_index(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, [7, 9]))
    first_ms = int(CAPTURED_AT.timestamp() * 1000)
    assert await entry_ids(redis_server.url, events_key(stream_id)) == [f"{first_ms + 280}-7", f"{first_ms + 360}-9"]


async def test_entry_ids_grow_when_the_clock_goes_back_and_over_runs(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    backwards = events_of(stream_id, range(5), seconds_per_frame=-10)
    later_run = [
        replace(event, epoch=EPOCH + 1, captured_at=event.captured_at - timedelta(hours=1))
        for event in events_of(stream_id, range(5))
    ]
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await sink.publish(backwards)
        await sink.publish(later_run)
    ids = [tuple(map(int, entry.split("-"))) for entry in await entry_ids(redis_server.url, events_key(stream_id))]
    assert len(ids) == 10
    assert ids == sorted(set(ids))
    assert await read_indexes(redis_server.url, stream_id) == [(EPOCH + run, i) for run in (0, 1) for i in range(5)]


async def test_an_older_run_is_refused_once_a_newer_one_publishes(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    async with (
        RedisSink(publish_settings, redis_url=redis_server.url) as older,
        RedisSink(publish_settings, redis_url=redis_server.url) as newer,
    ):
        await older.publish(events_of(stream_id, [0]))
        await newer.publish(events_of(stream_id, [0], epoch=EPOCH + 5))
        with pytest.raises(EventRejectedError) as caught:
            await older.publish(events_of(stream_id, [1]))
        assert caught.value.newer_epoch == EPOCH + 5
        await newer.publish(events_of(stream_id, [1], epoch=EPOCH + 5))
    assert await read_indexes(redis_server.url, stream_id) == [(EPOCH, 0), (EPOCH + 5, 0), (EPOCH + 5, 1)]


async def test_an_older_run_is_refused_once_a_newer_one_began(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    """A deposed owner publishes nothing while its successor still opens the source."""
    began = replace(STATUS, stream_id=stream_id, epoch=EPOCH + 5, state=StreamState.RECONNECTING)
    async with (
        RedisSink(publish_settings, redis_url=redis_server.url) as older,
        RedisSink(publish_settings, redis_url=redis_server.url) as newer,
    ):
        await older.publish(events_of(stream_id, [0]))
        await newer.publish_status(began)
        await older.publish_status(replace(began, epoch=EPOCH))  # takes nothing back
        for _ in range(2):
            with pytest.raises(EventRejectedError) as caught:
                await older.publish(events_of(stream_id, [1]))
            assert caught.value.newer_epoch == EPOCH + 5
        await older.publish(events_of(f"{stream_id}-2", [1]))
        await newer.publish(events_of(stream_id, [0], epoch=EPOCH + 5))
    assert await read_indexes(redis_server.url, stream_id) == [(EPOCH, 0), (EPOCH + 5, 0)]
    client = open_redis(redis_server.url, timeout_seconds=5)
    assert 0 < await client.pttl(fence_key(stream_id)) <= 600_000
    await close_redis(client)


async def test_several_streams_at_once_and_in_one_call(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    names = [f"{stream_id}-{number}" for number in range(8)]
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await asyncio.gather(*(sink.publish(events_of(name, range(50))) for name in names))
        await sink.publish([event for name in names for event in events_of(name, [50, 51])])
    for name in names:
        assert await read_indexes(redis_server.url, name) == [(EPOCH, index) for index in range(52)]


async def test_a_status_event_is_published_once(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    event = replace(STATUS, stream_id=stream_id)
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await sink.publish_status(event)
        await sink.publish_status(event)
        await sink.publish_status(replace(event, num_events=73))
        assert sink.stats.num_published == 2
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        entries = await client.xrange(STATUS_KEY)
    assert sum(stream_id.encode() in fields[b"event"] for _, fields in entries) == 2  # type: ignore[union-attr, index]


async def test_the_event_stream_is_bounded(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = PublishSettings(max_events_per_stream=200)
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, range(3000)))
    indexes = await read_indexes(redis_server.url, stream_id)
    # Trimming is approximate: whole nodes of 100 entries go.
    assert 200 <= len(indexes) <= 400
    assert indexes[-1] == (EPOCH, 2999)


async def test_a_trimmed_stream_still_knows_what_it_has(redis_server: EmbeddedRedis, stream_id: str) -> None:
    settings = PublishSettings(max_events_per_stream=100)
    async with RedisSink(settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, range(1000)))
        await sink.publish(events_of(stream_id, range(500)))
        assert sink.stats.num_repeated == 500


@pytest.mark.parametrize("forged", ["x", "inf", "nan", "-1", "0x7fffffffffff", "9" * 17, "9" * 400, "1e300", ""])
async def test_foreign_entries_in_the_stream_do_no_harm(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str, forged: str
) -> None:
    key = events_key(stream_id)
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        await client.xadd(key, {"epoch": forged, "frame_index": forged}, id="5-18446744073709551615")
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, range(3)))
        assert sink.stats.num_published == 3


# --- errors -----------------------------------------------------------------------------------------------------------


async def test_a_key_of_another_type_is_refused(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    async with open_redis(redis_server.url, timeout_seconds=2) as client:
        await client.set(events_key(stream_id), "text")
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        with pytest.raises(EventRejectedError):
            await sink.publish(events_of(stream_id, [0]))


def with_password(url: str) -> str:
    return url.replace("redis://:", "redis://:wrong-")


def without_password(url: str) -> str:
    return "redis://" + url.partition("@")[2]


def with_missing_database(url: str) -> str:
    return url.removesuffix("/0") + "/99"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_password, "refused the login"),
        (without_password, "refused the login"),
        (with_missing_database, "check the Redis URL"),
    ],
    ids=["wrong-password", "no-password", "no-such-database"],
)
async def test_a_wrong_url_is_found_at_the_check(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, change: Callable[[str], str], message: str
) -> None:
    sink = RedisSink(publish_settings, redis_url=change(redis_server.url))
    with pytest.raises(ConfigError, match=message) as caught:
        await sink.check()
    await sink.close()
    assert redis_server.url.split(":")[2].split("@")[0] not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://user:secret@host", "secret", "redis://host:port", ""], ids=["http", "text", "port", "empty"]
)
def test_what_is_no_redis_url_is_refused(publish_settings: PublishSettings, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisSink(publish_settings, redis_url=url)
    assert "user:secret" not in str(caught.value)


async def call_check(sink: RedisSink) -> None:
    await sink.check()


async def call_publish(sink: RedisSink) -> None:
    await sink.publish([EVENT])


async def call_publish_status(sink: RedisSink) -> None:
    await sink.publish_status(STATUS)


@pytest.mark.parametrize("call", [call_check, call_publish, call_publish_status])
async def test_a_refused_connection_names_the_server_without_its_password(
    publish_settings: PublishSettings, unused_tcp_port: int, call: Callable[[RedisSink], Awaitable[None]]
) -> None:
    sink = RedisSink(publish_settings, redis_url=f"redis://user:secret@127.0.0.1:{unused_tcp_port}/0")
    with pytest.raises(SinkUnavailableError, match=rf"\*\*\*@127\.0\.0\.1:{unused_tcp_port}") as caught:
        await call(sink)
    await sink.close()
    assert "secret" not in str(caught.value)


async def test_something_else_that_listens_there_is_an_error(publish_settings: PublishSettings) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sink = RedisSink(publish_settings, redis_url=f"redis://127.0.0.1:{port}")
        with pytest.raises((ConfigError, SinkUnavailableError), match=str(port)):
            await sink.check()
        await sink.close()


# --- the server goes away ---------------------------------------------------------------------------------------------


async def test_a_server_killed_in_the_middle_loses_doubles_and_disorders_nothing(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    """The server is killed twice while events are published, and started again with its data."""
    num_events = 3000
    first = EmbeddedRedis(data_dir=tmp_path, port=unused_tcp_port, password="p")
    first.start()
    url = first.url
    sink = RedisSink(PATIENT, redis_url=url)

    async def publish_all() -> None:
        for start in range(0, num_events, 10):
            await sink.publish(events_of("door", range(start, start + 10)))
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish_all())
    server = first
    for kill_at in (500, 1500):
        while sink.stats.num_published < kill_at:
            await asyncio.sleep(0.001)
            assert not publishing.done()
        os.kill(server.server_pid, signal.SIGKILL)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.2)
        server = EmbeddedRedis(data_dir=tmp_path, port=unused_tcp_port, password="p")
        await asyncio.to_thread(server.start)
    await publishing
    assert sink.stats.num_retries >= 2
    assert await read_indexes(url, "door") == [(EPOCH, index) for index in range(num_events)]
    assert sink.stats.num_published + sink.stats.num_repeated >= num_events
    await sink.close()
    await asyncio.to_thread(server.stop)


async def test_connections_cut_at_random_lose_and_double_nothing(redis_server: EmbeddedRedis, stream_id: str) -> None:
    num_events = 2000
    sink = RedisSink(PATIENT, redis_url=redis_server.url)
    client: Redis = open_redis(redis_server.url, timeout_seconds=2)
    is_done = asyncio.Event()

    async def cut_connections() -> None:
        for _ in range(100):  # bounded: a busy machine may get no further than one round trip between two cuts
            if is_done.is_set():
                return
            await client.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.01)

    cutting = asyncio.create_task(cut_connections())
    for start in range(0, num_events, 20):
        await sink.publish(events_of(stream_id, range(start, start + 20)))
    is_done.set()
    await cutting
    await client.aclose()
    assert sink.stats.num_retries > 0
    assert await read_indexes(redis_server.url, stream_id) == [(EPOCH, index) for index in range(num_events)]
    await sink.close()


async def test_a_server_that_hangs_is_given_up_after_the_given_time(tmp_path: Path) -> None:
    with EmbeddedRedis() as server:
        settings = PublishSettings(connect_timeout_seconds=0.2, max_retry_seconds=0.5)
        async with RedisSink(settings, redis_url=server.url) as sink:
            os.kill(server.server_pid, signal.SIGSTOP)
            try:
                with pytest.raises(SinkUnavailableError):
                    await asyncio.wait_for(sink.publish([EVENT]), timeout=5)
            finally:
                os.kill(server.server_pid, signal.SIGCONT)
            assert sink.stats.num_retries >= 1
            # The attempts that were given up may have arrived; publishing again settles it.
            await sink.publish([EVENT])
            assert await read_indexes(server.url, EVENT.stream_id) == [(EPOCH, 0)]


# --- what others write ------------------------------------------------------------------------------------------------

_YEARS_MS = 10 * 365 * 86_400_000
FORGED = [2**53 - 1, EPOCH + _YEARS_MS * 5]


@pytest.mark.parametrize("epoch", FORGED)
@pytest.mark.parametrize("place", ["event", "fence", "both"])
async def test_an_epoch_of_the_far_future_stops_no_stream(
    redis_server: EmbeddedRedis,
    publish_settings: PublishSettings,
    stream_id: str,
    epoch: int,
    place: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await sink.publish(events_of(stream_id, range(3)))
        async with open_redis(redis_server.url, timeout_seconds=2) as client:
            if place != "fence":
                forged: Any = {"epoch": str(epoch), "frame_index": "7", "event": "{}"}
                await client.xadd(events_key(stream_id), forged)
            if place != "event":
                await client.set(fence_key(stream_id), str(epoch))
            caplog.clear()
            await sink.publish(events_of(stream_id, range(3, 6)))
            assert str(epoch) in caplog.text
            caplog.clear()
            status = replace(STATUS, stream_id=stream_id, epoch=EPOCH + 1)
            await sink.publish_status(status)
            assert await client.get(fence_key(stream_id)) == str(EPOCH + 1).encode()
            newer = [replace(event, epoch=EPOCH + 1) for event in events_of(stream_id, range(2))]
            await sink.publish(newer)
            with pytest.raises(EventRejectedError):  # an older run stays refused
                await sink.publish(events_of(stream_id, range(6, 8)))
            entries: Any = await client.xrange(events_key(stream_id))
    kept = [int(fields[b"epoch"]) for _, fields in entries]
    assert kept == [EPOCH] * 3 + [epoch] * (place != "fence") + [EPOCH] * 3 + [EPOCH + 1] * 2


async def test_a_run_ahead_of_the_servers_clock_is_measured_as_all_others(
    redis_server: EmbeddedRedis, publish_settings: PublishSettings, stream_id: str
) -> None:
    ahead = EPOCH + 5 * _YEARS_MS
    events = [replace(event, epoch=ahead) for event in events_of(stream_id, range(4))]
    async with RedisSink(publish_settings, redis_url=redis_server.url) as sink:
        await sink.publish(events[:3])
        await sink.publish(events)
        assert (sink.stats.num_published, sink.stats.num_repeated) == (4, 3)
        with pytest.raises(EventRejectedError):
            await sink.publish([replace(event, epoch=ahead - 1) for event in events])
