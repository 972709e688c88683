"""Previews over HTTP: from a running stream to a JPEG with its frame's name, and only what the operator allows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from emostream.config import load_settings
from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.context import Waits
from emostream.service.api.preview_feed import PreviewFeed
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from emostream.testing.fakes import CollectingSink
from emostream.wire.events import event_from_json
from emostream.wire.preview import PreviewKind, PreviewPicture, bytes_from_preview, preview_channel
from tests.service.api.test_app import Clients, assert_problem, clients
from tests.service.conftest import LeasesOf
from tests.service.http_service import served_api
from tests.service.streams import live_record
from tests.service.worker.test_host import file_record
from tests.service.worker_bench import Bench, bench, until

__all__ = ["bench", "clients"]
pytestmark = pytest.mark.integration

PART = re.compile(rb"--frame\r\n(?P<head>(?:[^\r]+\r\n)+)\r\n")


def parts_of(content: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of each complete part."""
    parts, position = [], 0
    while (found := PART.match(content, position)) is not None:
        lines = found["head"].decode().splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        end = found.end() + int(headers["Content-Length"])
        if len(content) < end + 2:
            break
        parts.append((headers, content[found.end() : end]))
        position = end + 2
    return parts


@pytest.fixture
async def sink(bench: Bench) -> AsyncIterator[CollectingSink]:
    """Of a worker that runs the stream `door`."""
    sink = CollectingSink()
    bench.start_worker("w1", sink=sink)
    await bench.registry.create(live_record())
    await until(lambda: bench.is_state("door", StreamState.RUNNING))
    yield sink


async def test_pictures_come_while_a_viewer_is_connected(
    sink: CollectingSink, bench: Bench, redis_server: EmbeddedRedis
) -> None:
    content = b""
    async with (
        served_api(load_settings(), redis_url=redis_server.url) as base,
        httpx.AsyncClient(base_url=base, timeout=10) as client,
    ):
        async with client.stream("GET", "/v1/streams/door/preview.mjpeg?boxes=false") as response:
            assert response.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
            assert response.headers["cache-control"] == "no-store"
            async for chunk in response.aiter_raw():
                content += chunk
                if len(parts_of(content)) >= 4:
                    break
        first, *_, last = parts_of(content)
        assert first[1].startswith(b"\xff\xd8")
        assert int(first[0]["X-Frame-Index"]) < int(last[0]["X-Frame-Index"])
        event = next(event for event in sink.events if event.frame_index == int(last[0]["X-Frame-Index"]))
        assert last[0]["X-Epoch"] == str(event.epoch)
        assert last[0]["X-Captured-At"] == event.captured_at.isoformat()
        assert (last[0]["X-Frame-Width"], last[0]["X-Frame-Height"]) == ("64", "48")

        async def nobody_looks() -> bool:
            return not (await bench.look()).previews

        await until(nobody_looks)
    assert not [name async for name in bench.store.redis.scan_iter("*preview*")], "pictures are kept nowhere"


async def test_a_page_gets_the_pictures_of_several_streams_with_their_events(
    sink: CollectingSink, bench: Bench, redis_server: EmbeddedRedis
) -> None:
    await bench.registry.create(live_record("hall"))
    await until(lambda: bench.is_state("hall", StreamState.RUNNING))
    content, wanted = b"", {"door", "hall"}
    async with (
        served_api(load_settings(), redis_url=redis_server.url) as base,
        httpx.AsyncClient(base_url=base, timeout=10) as client,
        client.stream("GET", "/v1/previews?stream=door&stream=hall&stream=nobody&size=small") as response,
    ):
        assert response.headers["content-type"] == "multipart/mixed; boundary=frame"
        async for chunk in response.aiter_raw():
            content += chunk
            parts = parts_of(content.lstrip())
            pairs = list(zip(parts[::2], parts[1::2], strict=False))
            events = [event_from_json(event) for (_, event), _ in pairs]
            if {event.stream_id for event in events} == wanted and len(events) >= 4:
                break
    assert all(jpeg.startswith(b"\xff\xd8") for _, (_, jpeg) in pairs)
    assert all(headers["Content-Type"] == "image/jpeg" for _, (headers, _) in pairs)
    published = {(event.stream_id, event.epoch, event.frame_index): event for event in sink.events}
    for event in events:
        faces = published[event.stream_id, event.epoch, event.frame_index].faces
        assert [face.face.box_xyxy for face in event.faces] == [face.face.box_xyxy for face in faces]


async def test_a_page_of_streams_that_are_over_ends(
    clients: Clients, store: RegistryStore, leases_of: LeasesOf
) -> None:
    await StreamRegistry(store).create(file_record("clip"))
    worker = leases_of("w1")
    held = await worker.claim(["clip"])
    await worker.report({"clip": StreamReport(StreamState.ENDED, "", "w1", held["clip"], 1)})
    client = await clients.open(waits=Waits(check_seconds=0.1))
    response = await client.get("/v1/previews?stream=clip&stream=nothing")
    assert response.content.endswith(b"--frame--\r\n")
    assert "nothing" in assert_problem(await client.get("/v1/previews?stream=nothing"), 404)
    assert_problem(await (await clients.open(previews="off")).get("/v1/previews?stream=door"), 403)
    assert_problem(await (await clients.open()).get("/v1/previews"), 422)


async def test_one_picture(sink: CollectingSink, clients: Clients) -> None:
    client = await clients.open()
    for query in ("", "?boxes=false", "?blur=true", "?boxes=false&blur=true"):
        response = await client.get(f"/v1/streams/door/preview.jpg{query}")
        assert response.status_code == 200, response.text
        assert response.content.startswith(b"\xff\xd8")
        assert response.headers["x-frame-index"].isdigit()


async def test_a_slow_viewer_gets_the_newest(store: RegistryStore) -> None:
    channel = preview_channel("door", PreviewKind.PLAIN)
    async with PreviewFeed(store, channels=[channel]) as feed:
        while not await store.redis.publish(channel, message_of(0)):
            await asyncio.sleep(0.01)  # it subscribes in the background
        for number in range(1, 20):
            await store.publish(channel, message_of(number))
        await asyncio.sleep(0.3)
        picture = await feed.next(timeout_seconds=1)
        assert picture is not None
        assert picture.frame_index == 19
        assert await feed.next(timeout_seconds=0.05) is None


def message_of(number: int) -> bytes:
    return bytes_from_preview(PreviewPicture("door", 1, number, 0.0, datetime(2026, 1, 1, tzinfo=UTC), 64, 48, b"jpeg"))


@pytest.mark.parametrize("path", ["preview.jpg", "preview.mjpeg"])
async def test_what_cannot_be_seen(bench: Bench, clients: Clients, path: str) -> None:
    client = await clients.open()
    assert_problem(await client.get(f"/v1/streams/nothing/{path}"), 404)
    off = await clients.open(previews="off")
    await bench.registry.create(live_record("other"))
    assert "service.previews" in assert_problem(await off.get(f"/v1/streams/other/{path}"), 403)


async def test_a_stream_that_shows_nothing(bench: Bench, clients: Clients) -> None:
    await bench.registry.create(live_record("other"))
    client = await clients.open(waits=Waits(one_picture_seconds=0.2))
    response = await client.get("/v1/streams/other/preview.jpg")
    assert_problem(response, 503)


async def test_the_operator_may_ask_for_blurred_faces(
    sink: CollectingSink, clients: Clients, store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    client = await clients.open(previews="blurred")
    run = RegistryStore.run

    async def noting(self: RegistryStore, script: str, arguments: Any) -> Any:
        if script == "look":
            seen.append(arguments[1])
        return await run(self, script, arguments)

    monkeypatch.setattr(RegistryStore, "run", noting)
    assert (await client.get("/v1/streams/door/preview.jpg?blur=false")).status_code == 200
    assert all(channel.endswith(":blurred-boxes") for channel in seen)


async def test_the_stream_ends_with_what_is_watched(
    sink: CollectingSink, bench: Bench, redis_server: EmbeddedRedis
) -> None:
    async with (
        served_api(load_settings(), redis_url=redis_server.url, waits=Waits(check_seconds=0.2)) as base,
        httpx.AsyncClient(base_url=base, timeout=10) as client,
        client.stream("GET", "/v1/streams/door/preview.mjpeg") as response,
    ):
        chunks = response.aiter_raw()
        await anext(chunks)
        await StreamRegistry(bench.store).remove("door")
        async with asyncio.timeout(10):
            async for _ in chunks:
                pass
