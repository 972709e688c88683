"""The list of workers: who runs what, and how fast."""

from __future__ import annotations

import httpx
import pytest

from emostream.config import load_settings
from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.app import build_api
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import HOSTS, RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.service.conftest import LeasesOf
from tests.service.streams import live_record

pytestmark = pytest.mark.integration


async def test_workers_with_their_streams_and_figures(
    store: RegistryStore, redis_server: EmbeddedRedis, leases_of: LeasesOf
) -> None:
    registry = StreamRegistry(store)
    busy, idle = leases_of("w1", max_streams=4, ttl_seconds=30), leases_of("w2", max_streams=2, ttl_seconds=30)
    for name in ("door", "hall", "yard", "free"):
        await registry.create(live_record(name))
    held = await busy.claim(["hall", "door", "yard"])
    await busy.heartbeat(held)
    await idle.heartbeat({}, is_draining=True)
    await store.put_field(HOSTS, "w1", "node-3")
    await busy.report(
        {
            "door": StreamReport(
                StreamState.RUNNING, "", "w1", held["door"], 1, num_frames=7, measured_fps=30, latency_ms=10
            ),
            "hall": StreamReport(
                StreamState.RUNNING, "", "w1", held["hall"], 1, num_frames=7, measured_fps=10, latency_ms=50
            ),
            "yard": StreamReport(StreamState.CONNECTING, "", "w1", held["yard"], 1),
        }
    )
    app = build_api(load_settings(), redis_url=redis_server.url)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        found = (await client.get("/v1/workers")).json()
    assert found == [
        {
            "id": "w1",
            "host": "node-3",
            "max_streams": 4,
            "num_streams": 3,
            "is_draining": False,
            "measured_fps": 40,
            "latency_ms": 20,
            "stream_ids": ["door", "hall", "yard"],
        },
        {
            "id": "w2",
            "host": None,
            "max_streams": 2,
            "num_streams": 0,
            "is_draining": True,
            "measured_fps": 0,
            "latency_ms": None,
            "stream_ids": [],
        },
    ]
