"""What many streams, many requests and slow name servers cost others: pages, changes, looks, threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from emostream.config import load_settings
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.app import build_api
from emostream.service.api.context import ApiContext
from emostream.service.egress.policy import SourcePolicy
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.service.streams import live_record

pytestmark = pytest.mark.integration

NUM_CHANGES = 100


@asynccontextmanager
async def interface(redis_url: str, **service: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    settings = load_settings(
        service={"allowed_networks": ["127.0.0.0/8"], "max_requests_per_second": 0, **service},
    )
    app = build_api(settings, redis_url=redis_url)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client,
    ):
        yield app, client


async def test_changes_of_one_stream_at_once_all_succeed(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    """In two processes of the interface."""
    await StreamRegistry(store).create(live_record())
    async with interface(redis_server.url) as (_, one), interface(redis_server.url) as (_, other):
        fields = ["target_fps", "smoothing_seconds", "min_score"]
        answers = await asyncio.gather(
            *(
                (one, other)[number % 2].patch(
                    "/v1/streams/door", json={fields[number % 3]: (number + 1) / (NUM_CHANGES + 1)}
                )
                for number in range(NUM_CHANGES)
            )
        )
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert sum(answer.status_code == 200 for answer in answers) >= NUM_CHANGES / 2
        shown = (await one.get("/v1/streams/door")).json()
    assert all(shown[field] is not None for field in fields)


async def test_a_look_is_never_older_than_what_its_caller_did(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    async with interface(redis_server.url) as (app, client):
        context: ApiContext = app.state.context
        before = context._looking._num_looks

        async def create_and_show(number: int) -> int:
            created = await client.post("/v1/streams", json={"id": f"s{number}", "url": "rtsp://127.0.0.1:9/x"})
            assert created.status_code == 201
            return (await client.get(f"/v1/streams/s{number}")).status_code

        assert set(await asyncio.gather(*map(create_and_show, range(60)))) == {200}
        assert context._looking._num_looks - before < 100, "looks at the same time are not shared"


async def test_a_look_that_one_caller_gives_up_serves_the_others(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    async with interface(redis_server.url) as (app, _):
        context: ApiContext = app.state.context
        looking = [asyncio.create_task(context.look()) for _ in range(3)]
        await asyncio.sleep(0)
        looking[0].cancel()
        done = await asyncio.gather(*looking, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert not any(isinstance(each, BaseException) for each in done[1:])


async def test_a_silent_name_server_delays_no_other_request(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    answered = threading.Event()

    def resolve(host: str) -> list[str]:
        if host != "127.0.0.1":
            answered.wait(60)
        return ["127.0.0.1"]

    async with interface(redis_server.url) as (app, client):
        context: ApiContext = app.state.context
        context.policy = SourcePolicy(context.settings.service, resolver=resolve)
        slow = [
            asyncio.create_task(
                client.post("/v1/streams", json={"id": f"n{number}", "url": f"rtsp://n{number}.example/"})
            )
            for number in range(100)
        ]
        pictures = [
            asyncio.create_task(client.post("/v1/images", json={"url": f"http://p{number}.example/"}))
            for number in range(10)
        ]
        await asyncio.sleep(0.2)
        try:
            async with asyncio.timeout(30):
                created = await client.post("/v1/streams", json={"id": "door", "url": "rtsp://127.0.0.1:9/x"})
                fetched = await client.post("/v1/images", json={"url": "http://127.0.0.1:9/x.jpg"})
                models = await client.get("/v1/models")
            assert (created.status_code, fetched.status_code, models.status_code) == (201, 422, 200)
            assert not any(task.done() for task in (*slow, *pictures))
        finally:
            answered.set()
            assert {answer.status_code for answer in await asyncio.gather(*slow)} == {201}
            await asyncio.gather(*pictures)


async def test_pages_read_the_reports_of_their_streams_only(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    registry = StreamRegistry(store)
    for number in range(300):
        await registry.create(live_record(f"cam-{number:03}"))
    async with interface(redis_server.url, max_streams=1000) as (app, client):
        context: ApiContext = app.state.context
        asked: list[int] = []
        fields_of = context.store.fields_of

        async def counted(key: str, fields: Any) -> Any:
            asked.append(len(fields))
            return await fields_of(key, fields)

        context.store.fields_of = counted  # type: ignore[method-assign]
        seen: list[str] = []
        cursor = ""
        while cursor is not None:
            page = (await client.get("/v1/streams", params={"cursor": cursor, "limit": 70})).json()
            assert page["num_matching"] == 300
            seen += [stream["id"] for stream in page["streams"]]
            cursor = page["next_cursor"]
        assert seen == sorted(f"cam-{number:03}" for number in range(300))
        assert max(asked) <= 70
        page = (await client.get("/v1/streams", params={"prefix": "cam-1", "limit": 5})).json()
        assert (page["num_matching"], len(page["streams"]), page["next_cursor"]) == (100, 5, "cam-104")
        page = (await client.get("/v1/streams", params={"state": "pending", "search": "CAM-29", "limit": 3})).json()
        assert (page["num_matching"], len(page["streams"])) == (10, 3)
        assert (await client.get("/v1/streams", params={"state": "failed"})).json()["num_matching"] == 0


async def test_previews_of_streams_that_are_not_there_are_refused(
    store: RegistryStore, redis_server: EmbeddedRedis
) -> None:
    async with interface(redis_server.url) as (_, client):
        answer = await client.get("/v1/previews", params={"stream": ["none", "made-up"]})
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
