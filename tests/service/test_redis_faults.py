"""Redis is killed under running streams, and comes back with or without its data; consumers see no registry."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from emostream.config import PublishSettings
from emostream.domain.stream import StreamState
from emostream.errors import PublishError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.server_guard import PREVIOUS_LOG_FILE
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.store import RECORDS, RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.wire.preview import PreviewKind, preview_channel
from tests.ports import unused_port
from tests.service.streams import live_record
from tests.service.worker_bench import Bench, events_of, until

pytestmark = pytest.mark.integration

PATIENT = PublishSettings(connect_timeout_seconds=2.0, max_retry_seconds=20.0)
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


class Server:
    """A server that can be killed and started again under the same address."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._port = unused_port()
        self.start(keep_data=True)

    def start(self, *, keep_data: bool) -> None:
        folder = self._data_dir if keep_data else None
        self._server = EmbeddedRedis(data_dir=folder, port=self._port, password="secret")
        self._server.start()
        self.url = self._server.url

    def kill(self) -> None:
        os.kill(self._server.server_pid, signal.SIGKILL)
        self._server.stop()

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = await asyncio.to_thread(Server, tmp_path)
    yield server
    await asyncio.to_thread(server.stop)


@pytest.mark.parametrize("patience_seconds", [20.0, 0.2], ids=["events wait", "streams give up"])
@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "without its data"])
async def test_streams_go_on_after_redis_was_killed(server: Server, keep_data: bool, patience_seconds: float) -> None:
    settings = PATIENT.model_copy(update={"max_retry_seconds": patience_seconds})
    async with (
        RegistryStore(PATIENT, redis_url=server.url, max_retry_seconds=0) as store,
        RedisSink(settings, redis_url=server.url) as sink,
    ):
        bench = Bench(store)
        bench.start_worker("w1", sink=sink)
        for number in range(3):
            await StreamRegistry(store).create(live_record(f"s{number}"))

        async def all_run() -> bool:
            return [status.state for status in await bench.statuses()] == 3 * [StreamState.RUNNING]

        await until(all_run)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(server.start, keep_data=keep_data)
        before = await events_of(server.url)

        async def all_publish() -> bool:
            now = await events_of(server.url)
            return len(now) == 3 and all(len(now[name]) > len(before.get(name, [])) + 5 for name in now)

        await until(all_publish, timeout_seconds=30)
        await until(all_run)
        await bench.close()
        for stream_id, entries in (await events_of(server.url)).items():
            assert all(one < other for one, other in pairwise(entries)), f"{stream_id}: twice or out of order"


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "without its data"])
async def test_the_server_of_the_service_is_started_again(tmp_path: Path, keep_data: bool) -> None:
    """As `emostream serve` has it: nobody does anything."""
    with EmbeddedRedis(data_dir=tmp_path if keep_data else None, is_restarted=True) as server:
        async with (
            RegistryStore(PATIENT, redis_url=server.url, max_retry_seconds=0) as store,
            RedisSink(PATIENT, redis_url=server.url) as sink,
        ):
            bench = Bench(store)
            bench.start_worker("w1", sink=sink)
            await StreamRegistry(store).create(live_record())
            await until(lambda: bench.is_state("door", StreamState.RUNNING))
            guard = psutil.Process(server.server_pid).parent()
            assert guard is not None
            for _ in range(2):
                epoch, index = await newest_event(server.url)
                guard.children()[0].kill()

                async def goes_on(last: tuple[int, int] = (epoch, index + 20)) -> bool:
                    try:
                        return await newest_event(server.url) > last
                    except PublishError:
                        return False

                await until(goes_on, timeout_seconds=30)
                await until(lambda: bench.is_state("door", StreamState.RUNNING), timeout_seconds=30)
            last_server = guard.children()[0]
            await bench.close()
            if keep_data:
                assert (tmp_path / PREVIOUS_LOG_FILE).stat().st_size > 0, "what the killed one wrote is kept"
    assert not last_server.is_running(), "it ends with the program all the same"


async def newest_event(url: str) -> tuple[int, int]:
    """Epoch and frame index; zeros when there is none."""
    return (await events_of(url)).get("door", [(0, 0)])[-1]


async def test_consumers_may_read_events_and_nothing_else(server: Server) -> None:
    (line,) = [line for line in OPERATIONS.read_text(encoding="utf-8").splitlines() if line.startswith("ACL SETUSER")]
    async with RegistryStore(PATIENT, redis_url=server.url) as store, RedisSink(PATIENT, redis_url=server.url) as sink:
        await store.redis.execute_command(*line.split())  # type: ignore[no-untyped-call]
        await StreamRegistry(store).create(live_record())
        bench = Bench(store)
        bench.start_worker("w1", sink=sink)
        consumer_url = server.url.replace("//:secret@", "//consumer:PASSWORD@")

        async def has_events() -> bool:
            return bool(await events_of(consumer_url))

        await until(has_events)
        await bench.close()
    async with Redis.from_url(consumer_url) as consumer:
        preview = preview_channel("door", PreviewKind.PLAIN)
        for command in (
            ("SUBSCRIBE", preview),
            ("HGETALL", RECORDS),
            ("XADD", "emostream:events:door", "*", "a", "b"),
            ("FLUSHALL",),
        ):
            with pytest.raises(NoPermissionError):
                await consumer.execute_command(*command)  # type: ignore[no-untyped-call]
