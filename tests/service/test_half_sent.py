"""Half-sent requests to the whole interface on a real server: they are refused, and everybody else is answered."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from emostream.config import load_settings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.store import RegistryStore
from tests.service.http_service import served_api

pytestmark = pytest.mark.integration

TOKENS = [{"name": "t", "sha256": hashlib.sha256(b"secret").hexdigest(), "scopes": ["write"]}]
HEAD = "POST /v1/streams HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"


@contextlib.asynccontextmanager
async def half_sent(url: str, num: int, *, header: str = "") -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections that sent a head and one byte of a body."""
    address = httpx.URL(url)
    async with contextlib.AsyncExitStack() as stack:
        readers = []
        for _ in range(num):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            stack.callback(writer.close)
            writer.write(f"{HEAD}{header}\r\n{{".encode())
            readers.append(reader)
        yield readers


async def statuses(readers: list[asyncio.StreamReader]) -> list[int]:
    """What they were answered; each connection was closed after it."""
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*[reader.read() for reader in readers])
    return [int(answer.split()[1]) for answer in answers]


async def test_requests_without_a_valid_token_are_refused_before_their_body_arrives(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    settings = load_settings(service={"tokens": TOKENS, "max_requests_per_second": 0})
    async with (
        served_api(settings, redis_url=redis_server.url) as url,
        half_sent(url, 560, header="Authorization: Bearer made-up\r\n") as readers,
        httpx.AsyncClient(base_url=url) as client,
    ):
        assert await statuses(readers) == [401] * 560
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/v1/streams", headers={"Authorization": "Bearer secret"})).status_code == 200


async def test_where_no_token_is_needed_others_are_answered_meanwhile(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    settings = load_settings(service={"max_requests_per_second": 0, "max_body_seconds": 5.0})
    async with (
        served_api(settings, redis_url=redis_server.url) as url,
        half_sent(url, 700) as readers,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for path in ("/livez", "/metrics"):
            assert (await client.get(path)).status_code == 200
        answered = await statuses(readers)
        assert set(answered) == {408, 429}
        assert answered.count(408) == 50
        assert (await client.get("/v1/streams")).status_code == 200
