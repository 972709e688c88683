"""Several processes of the interface count the requests of a token together; without Redis each counts alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from emostream.config import load_settings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api import app as api_app
from emostream.service.api.shared_limits import SharedLimits
from emostream.service.api.tokens import token_hash
from emostream.service.registry.store import RegistryStore
from tests.service.conftest import SETTINGS
from tests.service.http_service import served_api

pytestmark = pytest.mark.integration

BEAT_SECONDS = 0.05
TOKENS = [{"name": name, "sha256": token_hash(name), "scopes": ["write"]} for name in ("one", "two")]


@contextlib.asynccontextmanager
async def opened(redis_url: str, num: int, *, dead_seconds: float = 10.0) -> AsyncIterator[list[SharedLimits]]:
    """So many processes that know of each other."""
    async with contextlib.AsyncExitStack() as stack:
        limits = [SharedLimits(beat_seconds=BEAT_SECONDS, dead_seconds=dead_seconds) for _ in range(num)]
        for each in limits:
            await stack.enter_async_context(each.opened(SETTINGS, redis_url=redis_url))
        await until_all_know(limits, num)
        yield limits


async def until_all_know(limits: list[SharedLimits], num: int) -> None:
    async with asyncio.timeout(30):
        while any(each.num_processes != num for each in limits):
            await asyncio.sleep(0.01)


async def test_a_rate_is_shared_whoever_is_asked(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    async with opened(redis_server.url, 3) as limits:
        begun = time.monotonic()
        waits = [await limits[number % 3].wait_seconds("one", per_second=1, burst=10) for number in range(60)]
        num_through, seconds = waits.count(0.0), time.monotonic() - begun
        assert 10 <= num_through <= 10 + seconds + 1
        assert all(0 < wait <= 1 for wait in waits if wait)
        assert await limits[0].wait_seconds("two", per_second=1, burst=10) == 0


async def test_a_client_that_waits_for_retry_after_gets_through(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    async with opened(redis_server.url, 2) as (first, second):
        assert await first.wait_seconds("one", per_second=4, burst=1) == 0
        wait = await second.wait_seconds("one", per_second=4, burst=1)
        assert 0 < wait <= 0.25
        await asyncio.sleep(wait + 0.01)
        assert await second.wait_seconds("one", per_second=4, burst=1) == 0


async def test_places_are_shared_and_given_back(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    async with opened(redis_server.url, 2) as (first, second):
        async with first.place("one", max_places=2) as a, second.place("one", max_places=2) as b:
            assert (a, b) == (True, True)
            async with first.place("one", max_places=2) as c, second.place("two", max_places=2) as other:
                assert (c, other) == (False, True)

        async def is_free() -> bool:
            async with first.place("one", max_places=1) as has_place:
                return has_place

        async with asyncio.timeout(30):
            while not await is_free():
                await asyncio.sleep(0.01)


async def test_places_of_a_process_that_dies_are_free_and_those_of_a_living_one_are_not(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    async with (
        opened(redis_server.url, 2, dead_seconds=2.0) as (first, second),
        first.place("one", max_places=2) as taken,
    ):
        assert taken
        key = next(iter(first._held.values()))
        assert await store.run("limits_place", [key, "of a process that died", 2, 2000]) == 1

        async def has_place(num: int) -> bool:
            async with second.place("one", max_places=num) as is_taken:
                return is_taken

        async with asyncio.timeout(30):
            while not await has_place(2):
                await asyncio.sleep(0.05)
        await asyncio.sleep(2.5)  # longer than it is kept
        assert not await has_place(1)


async def test_alone_redis_is_not_asked(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    async with opened(redis_server.url, 1) as (alone,):
        for _ in range(20):
            assert await alone.wait_seconds("one", per_second=1, burst=1) == 0
            async with alone.place("one", max_places=1) as has_place:
                assert has_place
        assert await store.redis.keys("*limits:turn*") == []


async def test_without_redis_nobody_waits_and_with_it_they_count_again() -> None:
    with EmbeddedRedis() as server:
        async with opened(server.url, 2) as (first, second), RegistryStore(SETTINGS, redis_url=server.url) as store:
            await store.redis.client_pause(600_000, all=False)  # it is there, and says nothing
            for _ in range(50):
                assert await first.wait_seconds("one", per_second=0.001, burst=1) == 0
                async with first.place("one", max_places=0) as has_place:
                    assert has_place
            await store.redis.client_unpause()
            async with asyncio.timeout(30):
                while not await first.wait_seconds("one", per_second=0.001, burst=1):
                    await asyncio.sleep(0.05)
            assert await second.wait_seconds("one", per_second=0.001, burst=1) > 0


async def test_two_processes_of_the_interface_let_a_token_in_once(
    store: RegistryStore, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SharedLimits] = []

    def make() -> SharedLimits:
        made.append(SharedLimits(beat_seconds=BEAT_SECONDS))
        return made[-1]

    monkeypatch.setattr(api_app, "SharedLimits", make)
    settings = load_settings(
        service={"tokens": TOKENS, "max_requests_per_second": 5, "max_requests_per_client": 2}, publish={}
    )
    url = redis_server.url
    headers = {"Authorization": "Bearer one"}
    async with (
        served_api(settings, redis_url=url) as first,
        served_api(settings, redis_url=url) as second,
        httpx.AsyncClient(headers=headers, timeout=30) as client,
    ):
        await until_all_know(made, 2)
        begun = time.monotonic()
        answers = [(await client.get(f"{base}/v1/streams")).status_code for base in 30 * [first, second]]
        seconds = time.monotonic() - begun
        assert set(answers) == {200, 429}
        assert answers.count(200) <= 10 + 5 * seconds + 1
        other = await client.get(f"{first}/v1/streams", headers={"Authorization": "Bearer two"})
        assert other.status_code == 200
