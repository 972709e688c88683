"""Workers of one machine share a folder for spools, and the next worker sends what a dead one could not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from emostream.config import PublishSettings
from emostream.domain.event import EmotionEvent
from emostream.domain.stream import StreamKind
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.reader import RedisReader
from emostream.publish.redis.sink import RedisSink
from emostream.publish.spool.sink import SpoolSink
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.sink import open_worker_sink
from tests.ports import unused_port
from tests.publish.samples import events_of

SETTINGS = PublishSettings(connect_timeout_seconds=1.0, max_retry_seconds=0.1)


def sink_of(folder: Path | None, *, url: str = "redis://127.0.0.1:9/0") -> RedisSink | SpoolSink:
    settings = SETTINGS.model_copy(update={"spool_dir": folder})
    return open_worker_sink(settings, redis_url=url, kind_of=lambda stream_id: StreamKind.LIVE)


async def test_without_a_folder_there_is_no_spool() -> None:
    sink = sink_of(None)
    assert isinstance(sink, RedisSink)
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
        assert isinstance(sink, SpoolSink)
        async with asyncio.timeout(10):
            await sink.drain()
    async with RedisReader(SETTINGS, redis_url=redis_server.url, start="start", follow=False) as reader:
        events = [entry.event async for entry in reader]
    assert [event.frame_index for event in events if isinstance(event, EmotionEvent)] == list(range(5))
