"""Readers of events that go away leave nothing behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest

from emostream.config import load_settings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.server_sent import Thinning
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.publish.samples import events_of
from tests.service.http_service import served_api
from tests.service.streams import live_record
from tests.service.worker_bench import until

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("path", ["events", "preview.mjpeg", "previews"])
async def test_their_connections_to_redis_are_closed(
    store: RegistryStore, redis_server: EmbeddedRedis, path: str
) -> None:
    await StreamRegistry(store).create(live_record())

    async def num_clients() -> int:
        """Those that wait for events (b) or listen to a channel (P)."""
        return sum(bool({"b", "P"} & set(client["flags"])) for client in await store.redis.client_list())

    async with (
        served_api(load_settings(), redis_url=redis_server.url) as base,
        httpx.AsyncClient(base_url=base, timeout=10) as client,
    ):
        assert (await client.get("/v1/streams/door")).status_code == 200
        url = "/v1/previews?stream=door&stream=hall" if path == "previews" else f"/v1/streams/door/{path}"
        tasks = [asyncio.create_task(_read(client, url)) for _ in range(8)]

        async def all_read() -> bool:
            return await num_clients() == 8

        await until(all_read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async def all_are_gone() -> bool:
            return await num_clients() == 0

        await until(all_are_gone)


def test_thinning_leaves_out_what_comes_too_soon() -> None:
    events = events_of("door", range(50))  # 25 a second
    seconds = [(event.captured_at - events[0].captured_at).total_seconds() for event in events]
    thinning = Thinning(5)
    taken = [when for when, event in zip(seconds, events, strict=True) if thinning.takes(event)]
    assert taken == pytest.approx([0.2 * step for step in range(10)], abs=0.001)
    assert thinning.takes(replace(events[-1], epoch=events[-1].epoch + 1)), "another run begins anew"
    assert all(map(Thinning(None).takes, events))


async def _read(client: httpx.AsyncClient, path: str) -> None:
    async with client.stream("GET", path) as response:
        async for _ in response.aiter_raw():
            pass
