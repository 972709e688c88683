"""Readers of events that go away leave nothing behind."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from emostream.config import load_settings
from emostream.publish.embedded_redis import EmbeddedRedis
from emostream.service.registry import StreamRegistry
from emostream.service.store import RegistryStore
from tests.service.http_service import served_api
from tests.service.streams import live_record
from tests.service.test_worker import until

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("path", ["events", "preview.mjpeg"])
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
        tasks = [asyncio.create_task(_read(client, f"/v1/streams/door/{path}")) for _ in range(8)]

        async def all_read() -> bool:
            return await num_clients() == 8

        await until(all_read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async def all_are_gone() -> bool:
            return await num_clients() == 0

        await until(all_are_gone)


async def _read(client: httpx.AsyncClient, path: str) -> None:
    async with client.stream("GET", path) as response:
        async for _ in response.aiter_raw():
            pass
