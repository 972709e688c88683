"""A real server for this folder, with a registry that each test begins empty."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from emostream.config import PublishSettings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.registry.leases import StreamLeases, steady_seconds
from emostream.service.registry.store import RegistryStore

SETTINGS = PublishSettings(connect_timeout_seconds=2.0, max_retry_seconds=0.2)

LeasesOf = Callable[..., StreamLeases]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One server for all tests that do not harm it."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
async def store(redis_server: EmbeddedRedis) -> AsyncIterator[RegistryStore]:
    """A connection; all data of the server is removed first."""
    async with RegistryStore(SETTINGS, redis_url=redis_server.url) as store:
        await store.redis.flushall()
        yield store


@pytest.fixture
def leases_of(store: RegistryStore) -> LeasesOf:
    """Makes the leases of a worker with a short lease time."""

    def make(
        worker_id: str = "",
        *,
        max_streams: int = 10,
        ttl_seconds: float = 0.3,
        clock: Callable[[], float] = steady_seconds,
    ) -> StreamLeases:
        name = worker_id or uuid.uuid4().hex
        return StreamLeases(store, worker_id=name, max_streams=max_streams, ttl_seconds=ttl_seconds, clock=clock)

    return make
