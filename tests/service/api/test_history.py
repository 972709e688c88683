"""Histories: events of a time span, evenly sampled, from what Redis still has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from emostream.config import load_settings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.api.app import build_api
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.wire.keys import events_key
from tests.publish.samples import CAPTURED_AT, events_of
from tests.service.conftest import SETTINGS
from tests.service.streams import live_record

pytestmark = pytest.mark.integration

PATH = "/v1/streams/door/history"


@pytest.fixture
async def client(store: RegistryStore, redis_server: EmbeddedRedis) -> AsyncIterator[httpx.AsyncClient]:
    """The interface, with a stream without events."""
    await StreamRegistry(store).create(live_record("door"))
    app = build_api(load_settings(), redis_url=redis_server.url)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


def at(seconds: float) -> str:
    """A time after the first event."""
    return (CAPTURED_AT + timedelta(seconds=seconds)).isoformat()


async def test_events_are_spread_over_the_span(client: httpx.AsyncClient, redis_server: EmbeddedRedis) -> None:
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        await sink.publish(events_of("door", range(600), seconds_per_frame=1))  # ten minutes
    found = await _history(client, seconds=600, until=at(599.5), limit=60)
    assert [event["frame_index"] for event in found["events"]] == list(range(0, 600, 10))
    assert found["step_seconds"] == 10
    first = found["events"][0]
    assert (first["epoch"], first["latency_ms"]) == (1_700_000_000_123, {"decode": 1.1})
    assert first["faces"] == [{"track_id": 3, "dominant": "happy", "confidence": 0.9}]
    assert datetime.fromisoformat(found["newest_at"]) - datetime.fromisoformat(found["oldest_at"]) == timedelta(
        seconds=599
    )
    # The last minute alone, a step for each event.
    found = await _history(client, seconds=60, until=at(599.5), limit=60)
    assert [event["frame_index"] for event in found["events"]] == list(range(540, 600))
    # Fewer events than steps: all of them, once.
    found = await _history(client, seconds=10, until=at(9.5), limit=1000)
    assert [event["frame_index"] for event in found["events"]] == list(range(10))
    # One event at most: the first.
    found = await _history(client, seconds=600, until=at(599.5), limit=1)
    assert [event["frame_index"] for event in found["events"]] == [0]


async def test_what_was_trimmed_is_not_there_and_the_answer_says_since_when(
    client: httpx.AsyncClient, redis_server: EmbeddedRedis, store: RegistryStore
) -> None:
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        await sink.publish(events_of("door", range(100), seconds_per_frame=1))
    await store.redis.xtrim(events_key("door"), maxlen=10, approximate=False)
    found = await _history(client, seconds=3600, until=at(99), limit=1000)
    assert {event["frame_index"] for event in found["events"]} <= set(range(90, 100))
    assert found["events"]
    oldest = datetime.fromisoformat(found["oldest_at"])
    assert abs(oldest - CAPTURED_AT - timedelta(seconds=90)) < timedelta(seconds=0.01)
    # A span that is over before the oldest event, and one after the newest.
    assert (await _history(client, seconds=60, until=at(60)))["events"] == []
    assert (await _history(client, seconds=60, until=at(3600)))["events"] == []


async def test_a_stream_without_events_has_an_empty_history(client: httpx.AsyncClient) -> None:
    found = await _history(client)
    assert (found["events"], found["oldest_at"], found["newest_at"]) == ([], None, None)


async def test_entries_that_are_no_events_are_left_out(client: httpx.AsyncClient, store: RegistryStore) -> None:
    await store.redis.xadd(events_key("door"), {"event": "nonsense"}, id="1700000000000-0")
    found = await _history(client, until="2023-11-14T22:13:21Z")
    assert (found["events"], found["oldest_at"]) == ([], "2023-11-14T22:13:20Z")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"seconds": 0}, 422),
        ({"seconds": 1e9}, 422),
        ({"limit": 0}, 422),
        ({"limit": 1001}, 422),
        ({"until": "yesterday"}, 422),
        ({"until": "2026-11-23T10:00:00"}, 422),  # of which time zone?
        ({"until": "0001-01-01T00:00:00Z"}, 200),
        ({"until": "9999-12-31T23:59:59-12:00"}, 200),
        ({"until": "1970-01-01T00:00:00.001Z", "seconds": 604800}, 200),
    ],
)
async def test_bounds(client: httpx.AsyncClient, query: dict[str, Any], status: int) -> None:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert [error["where"] for error in answer.json()["errors"]] == [f"query.{next(iter(query))}"]


async def test_an_unknown_stream(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/streams/nobody/history")).status_code == 404


async def _history(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
