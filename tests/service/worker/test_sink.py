"""Workers of one machine share a folder for spools, and the next worker sends what a dead one could not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamKind
from emostream.errors import SinkUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.sink_group import SinkGroup
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.sink import open_worker_sink
from emostream.wire.events import event_from_json
from tests.ports import unused_port
from tests.publish.samples import events_of

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
async def test_what_waits_for_another_sink_is_taken_over_by_the_next_worker(
    tmp_path: Path, store: RegistryStore, redis_server: EmbeddedRedis
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
        async with opened("worker-b") as sink, asyncio.timeout(10):
            while waiting(sink):
                await asyncio.sleep(0.02)
        async with RedisReader(SETTINGS, redis_url=other.url, start="start", follow=False) as reader:
            events = [entry.event async for entry in reader]
    assert [event.frame_index for event in events if isinstance(event, EmotionEvent)] == list(range(5))
