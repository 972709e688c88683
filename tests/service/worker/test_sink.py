"""Workers of one machine share a folder for spools, and the next worker sends what a dead one could not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent, StatusEvent
from emostream.domain.stream import StreamKind
from emostream.errors import SinkUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.sink_group import SinkGroup
from emostream.publish.spool.sink import has_waiting
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.sink import deliver_leftovers, open_worker_sink
from emostream.wire.events import event_from_json
from tests.ports import unused_port
from tests.publish.samples import EPOCH, STATUS, events_of

SETTINGS = PublishSettings(connect_timeout_seconds=1.0, max_retry_seconds=0.1)


def sink_of(folder: Path | None, *, url: str = "redis://127.0.0.1:9/0") -> SinkGroup:
    settings = SETTINGS.model_copy(update={"spool_dir": folder})
    return open_worker_sink(settings, redis_url=url, kind_of=lambda stream_id: StreamKind.LIVE)


def waiting(sink: SinkGroup) -> float:
    return sum(reading.value for reading in sink.readings() if reading.metric == "emostream_sink_waiting_events")


async def test_without_a_folder_there_is_no_spool() -> None:
    sink = sink_of(None)
    with pytest.raises(SinkUnavailableError):
        await sink.publish(events_of("door", [0]))
    await sink.close()


async def test_each_worker_has_a_folder_and_takes_over_one_that_is_free(tmp_path: Path) -> None:
    first, second = sink_of(tmp_path), sink_of(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker-0", "worker-1"]
    await first.close()
    third = sink_of(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    await second.close()
    await third.close()


@pytest.mark.integration
async def test_what_a_worker_could_not_deliver_the_next_one_does(
    tmp_path: Path, store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    async with sink_of(tmp_path, url=f"redis://127.0.0.1:{unused_port()}/0") as sink:
        await sink.publish(events_of("door", range(5)))
    async with sink_of(tmp_path, url=redis_server.url) as sink:
        async with asyncio.timeout(10):
            while waiting(sink):
                await asyncio.sleep(0.02)
    async with RedisReader(SETTINGS, redis_url=redis_server.url, start="start", follow=False) as reader:
        events = [entry.event async for entry in reader]
    assert [event.frame_index for event in events if isinstance(event, EmotionEvent)] == list(range(5))


async def statuses_at(url: str) -> list[StatusEvent]:
    async with RedisReader(
        SETTINGS, redis_url=url, stream_ids=[], start="start", follow=False, with_status=True
    ) as reader:
        return [entry.event async for entry in reader if isinstance(entry.event, StatusEvent)]


async def left_by_a_dead_worker(folder: Path, kind: StreamKind) -> None:
    """300 events and a status, which it could not deliver."""
    sink = open_worker_sink(
        SETTINGS.model_copy(update={"spool_dir": folder}),
        redis_url=f"redis://127.0.0.1:{unused_port()}/0",
        kind_of=lambda _: kind,
    )
    async with sink:
        await sink.publish(events_of("door", range(299)))
        await sink.publish([replace(events_of("door", [302])[0], num_dropped=3)])
        await sink.publish_status(STATUS)


async def until_delivered(folder: Path, url: str) -> None:
    settings = SETTINGS.model_copy(update={"spool_dir": folder})
    async with deliver_leftovers(settings, redis_url=url), asyncio.timeout(20):
        while list(folder.glob("*/streams/*/*")):
            await asyncio.sleep(0.02)


@pytest.mark.integration
async def test_a_living_worker_delivers_what_dead_ones_left(
    tmp_path: Path, store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    async with sink_of(tmp_path, url=redis_server.url):  # its own folder is in use
        await left_by_a_dead_worker(tmp_path, StreamKind.LIVE)
        assert has_waiting(tmp_path / "worker-1")
        await until_delivered(tmp_path, redis_server.url)
    async with RedisReader(SETTINGS, redis_url=redis_server.url, start="start", follow=False) as reader:
        indexes = [entry.event.frame_index async for entry in reader if isinstance(entry.event, EmotionEvent)]
    assert indexes == [*range(299), 302]
    assert await statuses_at(redis_server.url) == [STATUS]


@pytest.mark.integration
@pytest.mark.parametrize("kind", StreamKind)
async def test_what_comes_after_a_newer_run_began_is_announced_in_it(
    tmp_path: Path, store: RegistryStore, redis_server: EmbeddedRedis, kind: StreamKind
) -> None:
    await left_by_a_dead_worker(tmp_path, kind)
    assert await store.last_event_before(EPOCH + 5, stream_id="door") is None
    await until_delivered(tmp_path, redis_server.url)
    told = [event for event in await statuses_at(redis_server.url) if event.kind == "events_lost"]
    # The newer run of a file publishes its frames again.
    expected = [("door", EPOCH + 5, 303)] if kind is StreamKind.LIVE else []
    assert [(event.stream_id, event.epoch, event.num_events) for event in told] == expected


@pytest.mark.integration
async def test_a_newer_run_of_the_same_worker_announces_it_itself(
    tmp_path: Path, store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    await left_by_a_dead_worker(tmp_path, StreamKind.LIVE)
    await store.last_event_before(EPOCH + 5, stream_id="door")
    newer = events_of("door", range(4), epoch=EPOCH + 5)
    async with sink_of(tmp_path, url=f"redis://127.0.0.1:{unused_port()}/0") as sink:
        await sink.publish(newer)
    await until_delivered(tmp_path, redis_server.url)
    async with RedisReader(SETTINGS, redis_url=redis_server.url, start="start", follow=False) as reader:
        events = [entry.event async for entry in reader if isinstance(entry.event, EmotionEvent)]
    assert [(event.epoch, event.num_dropped) for event in events] == [(EPOCH + 5, 303), *[(EPOCH + 5, 0)] * 3]
    assert [event.kind for event in await statuses_at(redis_server.url)] == ["state"]


@pytest.mark.integration
async def test_sinks_beside_redis_get_every_event_and_one_that_is_away_costs_redis_nothing(
    tmp_path: Path, store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    nowhere = f"webhook+http://127.0.0.1:{unused_port()}/events"
    settings = SETTINGS.model_copy(
        update={"sinks": (SecretStr(nowhere), SecretStr(f"jsonl:{tmp_path}/events-{{worker}}.jsonl"))}
    )
    events = events_of("door", range(50))
    opened = open_worker_sink(
        settings, redis_url=redis_server.url, kind_of=lambda _: StreamKind.LIVE, worker_id="worker-1"
    )
    async with opened as sink:
        for event in events:
            await sink.publish([event])
        async with asyncio.timeout(10):
            while (found := values(sink))["emostream_sink_up_ratio", nowhere] == 1:
                await asyncio.sleep(0.02)
    assert found["emostream_sink_waiting_events", nowhere] == 50
    lines = (tmp_path / "events-worker-1.jsonl").read_text().splitlines()
    assert [event_from_json(line) for line in lines] == events
    async with RedisReader(SETTINGS, redis_url=redis_server.url, start="start", follow=False) as reader:
        entries = [entry.event async for entry in reader]
    assert [event.frame_index for event in entries if isinstance(event, EmotionEvent)] == list(range(50))


def values(sink: SinkGroup) -> dict[tuple[str, ...], float]:
    return {(reading.metric, *reading.labels.values()): reading.value for reading in sink.readings()}


@pytest.mark.integration
@pytest.mark.parametrize("is_replaced", [True, False])
async def test_what_waits_for_another_sink_is_taken_over_by_another_worker(
    tmp_path: Path, store: RegistryStore, redis_server: EmbeddedRedis, is_replaced: bool
) -> None:
    port = unused_port()
    settings = SETTINGS.model_copy(
        update={"sinks": (SecretStr(f"redis://:open@127.0.0.1:{port}/0"),), "spool_dir": tmp_path}
    )

    def opened(worker_id: str) -> SinkGroup:
        return open_worker_sink(
            settings, redis_url=redis_server.url, kind_of=lambda _: StreamKind.FILE, worker_id=worker_id
        )

    async with opened("worker-a") as sink:
        await sink.publish(events_of("door", range(5)))
    with EmbeddedRedis(port=port, password="open") as other:
        if is_replaced:
            async with opened("worker-b") as sink, asyncio.timeout(10):
                while waiting(sink):
                    await asyncio.sleep(0.02)
        else:
            async with deliver_leftovers(settings, redis_url=redis_server.url), asyncio.timeout(10):
                while has_waiting(tmp_path / "worker-0"):
                    await asyncio.sleep(0.02)
        async with RedisReader(SETTINGS, redis_url=other.url, start="start", follow=False) as reader:
            events = [entry.event async for entry in reader]
    assert [event.frame_index for event in events if isinstance(event, EmotionEvent)] == list(range(5))
