"""The HTTP interface on a real registry: statuses, problems, paging, tokens, limits, events."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from emostream.config import Settings, load_settings
from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.api.app import build_api
from emostream.service.api.context import Waits
from emostream.service.api.tokens import token_hash
from emostream.service.registry.records import StreamReport
from emostream.service.registry.store import RegistryStore
from tests.media import corner_picture, http_server, make_clip
from tests.publish.samples import events_of
from tests.service.conftest import SETTINGS, LeasesOf

pytestmark = pytest.mark.integration

CAMERA = {"id": "door", "url": "rtsp://user:secret@127.0.0.1:9/1", "target_fps": 5}


class Clients:
    """Opens the interface with given settings."""

    def __init__(self, redis_url: str, stack: AsyncExitStack, tmp_path: Path) -> None:
        self._redis_url = redis_url
        self._stack = stack
        self._tmp_path = tmp_path

    async def open(
        self,
        *,
        token: str | None = None,
        redis_url: str | None = None,
        open_timeout_seconds: float = 10.0,
        waits: Waits | None = None,
        **service: Any,
    ) -> httpx.AsyncClient:
        settings: Settings = load_settings(
            service={"media_root": self._tmp_path, "allowed_networks": ["127.0.0.0/8"], **service},
            publish={"connect_timeout_seconds": 1.0},
            decode={"open_timeout_seconds": open_timeout_seconds},
        )
        app = build_api(settings, redis_url=redis_url or self._redis_url, waits=waits)
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return await self._stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)
        )


@pytest.fixture
async def clients(store: RegistryStore, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(redis_server.url, stack, tmp_path)


@pytest.fixture
async def client(clients: Clients) -> httpx.AsyncClient:
    return await clients.open()


def assert_problem(response: httpx.Response, status: int) -> str:
    """Check the shape of a problem; return its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert "secret" not in response.text
    return str(response.json()["detail"])


async def test_creating_showing_changing_removing(client: httpx.AsyncClient) -> None:
    created = await client.post("/v1/streams", json=CAMERA)
    assert created.status_code == 201
    assert created.headers["location"] == "/v1/streams/door"
    body = created.json()
    assert (body["state"], body["detail"]) == ("pending", "no stream worker is running")
    assert body["url"] == "rtsp://***@127.0.0.1:9/1"
    assert (await client.post("/v1/streams", json=CAMERA)).status_code == 200
    assert_problem(await client.post("/v1/streams", json={**CAMERA, "every": 2}), 409)

    changed = await client.patch("/v1/streams/door", json={"paused": True, "target_fps": None})
    assert (changed.json()["paused"], changed.json()["target_fps"], changed.json()["every"]) == (True, None, 1)
    assert (await client.get("/v1/streams/door")).json() == changed.json()
    assert body["pixel_aspect"] is None
    changed = await client.patch("/v1/streams/door", json={"pixel_aspect": "64:45"})
    assert changed.json()["pixel_aspect"] == 1.422222
    changed = await client.patch("/v1/streams/door", json={"pixel_aspect": None})
    assert changed.json()["pixel_aspect"] is None

    assert (await client.delete("/v1/streams/door")).status_code == 204
    for method in ("GET", "DELETE"):
        assert "door" in assert_problem(await client.request(method, "/v1/streams/door"), 404)
    assert_problem(await client.patch("/v1/streams/door", json={"paused": True}), 404)
    assert_problem(await client.get("/v1/streams/door/events"), 404)


@pytest.mark.parametrize(
    "body",
    [
        {"url": ""},
        {"id": "a b", "url": "rtsp://127.0.0.1/1"},
        {"url": "rtsp://127.0.0.1/1", "every": 0},
        {"url": "rtsp://127.0.0.1/1", "target_fps": -1},
        {"url": "rtsp://127.0.0.1/1", "pixel_aspect": 0},
        {"url": "rtsp://127.0.0.1/1", "pixel_aspect": "16:0"},
        {"url": "rtsp://127.0.0.1/1", "pixel_aspect": ["2"]},
        {"url": "rtsp://127.0.0.1/1", "unknown": 1},
        {"url": "rtsp://u:secret@10.0.0.1/1"},
        {"url": "file:///etc/passwd"},
        {"url": "/etc/passwd"},
        {"url": "concat:/etc/passwd"},
        {"url": "http://127.0.0.1/\r\nx"},
        {"url": "rtsp://127.0.0.1/1", "zones": [{"name": "z", "polygon": [[0, 0], [2, 0], [1, 1]]}]},
        [],
        None,
    ],
)
async def test_what_cannot_be_watched_is_refused(client: httpx.AsyncClient, body: object) -> None:
    response = await client.post("/v1/streams", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert_problem(response, 422)


def random_json(rng: random.Random, *, depth: int = 0) -> Any:
    """Any JSON value; objects use the names of the interface, so that some of it is nearly right."""
    scalars = [None, True, 0, -1, 1, 2**70, 1e308, "", "x", "rtsp://127.0.0.1/1", "file:///x", "\0", "é" * 300, "live"]
    kind = rng.randrange(3) if depth < 3 else 0
    if kind == 1:
        return [random_json(rng, depth=depth + 1) for _ in range(rng.randrange(4))]
    if kind == 2:
        names = rng.sample(["id", "url", "kind", "every", "target_fps", "max_frames", "paused", "zones", "odd"], 3)
        return {name: random_json(rng, depth=depth + 1) for name in names}
    return rng.choice(scalars)


async def test_whatever_is_sent_is_answered(client: httpx.AsyncClient) -> None:
    rng = random.Random(0)
    await client.post("/v1/streams", json=CAMERA)
    statuses = set()
    calls = (("POST", "/v1/streams"), ("PATCH", "/v1/streams/door"), ("PATCH", "/v1/streams/%00%ff"))
    for number in range(150):
        name = rng.choice(["url", "every", "target_fps", "max_frames", "paused", "zones"])
        nearly_right = {"id": f"s{number % 7}", "url": "rtsp://127.0.0.1/1", name: random_json(rng, depth=2)}
        for method, path in calls:
            body = rng.choice([nearly_right, {name: nearly_right[name]}, random_json(rng)])
            response = await client.request(method, path, json=body)
            assert response.status_code < 500, (method, path, body, response.text)
            statuses.add(response.status_code)
    assert {200, 201, 404, 422} <= statuses
    for query in ("limit=x", "cursor=" + 70 * "x", "state=odd", "prefix=%00", "limit=1e9"):
        assert (await client.get(f"/v1/streams?{query}")).status_code < 500


async def test_broken_requests_are_problems(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(await client.post("/v1/streams", content=b'{"url": "secret', headers=headers), 422)
    assert_problem(await client.get("/nothing"), 404)
    assert_problem(await client.put("/v1/streams"), 405)
    assert_problem(await client.get("/v1/streams?limit=0"), 422)
    named = await client.post("/v1/streams", json={"id": "the door!", "url": "rtsp://127.0.0.1/1"})
    assert_problem(named, 422)
    assert [error["where"] for error in named.json()["errors"]] == ["body.id"]


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("content", [DEEP, b'{"a":' * 100_000, b'{"url": ' + b"9" * 100_000 + b"}"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/streams"), ("PATCH", "/v1/streams/door"), ("POST", "/v1/jobs"), ("POST", "/v1/images")],
)
async def test_deep_and_long_json_is_refused(client: httpx.AsyncClient, method: str, path: str, content: bytes) -> None:
    await client.post("/v1/streams", json=CAMERA)
    response = await client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert len(response.content) < 10_000


async def test_json_without_end_of_names_is_refused_and_not_repeated(client: httpx.AsyncClient) -> None:
    many = {f"k{number}": 1 for number in range(20_000)}
    answer = await client.post("/v1/streams", json=many)
    assert_problem(answer, 422)
    assert len(answer.json()["errors"]) == 20
    assert_problem(await client.post("/v1/streams", json=many | {"x": "x" * (512 << 10)}), 413)
    assert_problem(await client.post("/v1/images", content=b"x" * (1 << 20)), 422)  # pictures may be larger


HALF_A_PAIR = '"\\ud800"'


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/streams", '{"id": %s, "url": "rtsp://127.0.0.1:9/1"}'),
        ("POST", "/v1/streams", '{"id": "x", "url": %s}'),
        (
            "POST",
            "/v1/streams",
            '{"url": "rtsp://127.0.0.1:9/1", "zones": [{"name": %s, "polygon": [[0,0],[0,1],[1,1]]}]}',
        ),
        ("PATCH", "/v1/streams/door", '{"zones": [{"name": %s, "polygon": [[0,0],[0,1],[1,1]]}]}'),
        ("POST", "/v1/jobs", '{"id": "x", "url": "file:///media", "patterns": [%s]}'),
        ("POST", "/v1/images", '{"url": %s}'),
    ],
)
async def test_text_that_no_encoding_can_write_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: str
) -> None:
    await client.post("/v1/streams", json=CAMERA)
    content = (body % HALF_A_PAIR).encode()
    answer = await client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert_problem(answer, 422)


async def test_pages_and_filters(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.post("/v1/streams", json={"id": f"cam{number}", "url": "rtsp://127.0.0.1/1"})
    await client.post("/v1/streams", json={"id": "other", "url": "rtsp://127.0.0.1/1"})
    seen, cursor = [], ""
    while cursor is not None:
        query = {"limit": 2, "prefix": "cam", "cursor": cursor, "state": ["pending", "running"]}
        page = (await client.get("/v1/streams", params=query)).json()  # type: ignore[arg-type]
        assert page["num_matching"] == 5
        seen += [stream["id"] for stream in page["streams"]]
        cursor = page["next_cursor"]
    assert seen == [f"cam{number}" for number in range(5)]
    assert (await client.get("/v1/streams", params={"state": "failed"})).json()["num_matching"] == 0


async def test_streams_are_found_by_name_address_and_pause(client: httpx.AsyncClient) -> None:
    await client.post("/v1/streams", json={"id": "front-Door", "url": "rtsp://user:secret@127.0.0.1:9/north/1"})
    await client.post("/v1/streams", json={"id": "hall", "url": "rtsp://127.0.0.1:9/South/2", "paused": True})

    async def found(**query: Any) -> list[str]:
        page = (await client.get("/v1/streams", params=query)).json()
        assert page["num_matching"] == len(page["streams"])
        return [stream["id"] for stream in page["streams"]]

    assert await found(search="DOOR") == ["front-Door"]
    assert await found(search="south") == ["hall"]
    assert await found(search="127.0.0.1") == ["front-Door", "hall"]
    assert await found(search="secret") == []
    assert await found(search="user") == []
    assert await found(paused=True) == ["hall"]
    assert await found(paused=False) == ["front-Door"]
    assert await found(search="a", paused=False) == []
    # What is kept for searching follows the streams.
    await client.delete("/v1/streams/front-Door")
    assert await found(search="north") == []
    await client.post("/v1/streams", json={"id": "front-Door", "url": "rtsp://127.0.0.1:9/West/1"})
    assert await found(search="north") == []
    assert await found(search="west") == ["front-Door"]
    await client.patch("/v1/streams/hall", json={"paused": False})
    assert await found(search="HALL", paused=False) == ["hall"]


async def test_reports_and_readiness_come_from_the_workers(client: httpx.AsyncClient, leases_of: LeasesOf) -> None:
    assert (await client.get("/livez")).status_code == 200
    assert (await client.get("/readyz")).status_code == 503
    await client.post("/v1/streams", json=CAMERA)
    worker = leases_of("w1", max_streams=4, ttl_seconds=5)
    held = await worker.claim(["door"])
    await worker.heartbeat(held)
    report = StreamReport(StreamState.RUNNING, "", "w1", held["door"], 1, num_frames=7, measured_fps=5, latency_ms=40)
    await worker.report({"door": report})
    ready = await client.get("/readyz")
    assert ready.json() == {"ready": True, "num_workers": 1, "num_streams": 1, "capacity": 4, "problems": []}
    shown = (await client.get("/v1/streams/door")).json()
    assert (shown["state"], shown["worker_id"], shown["epoch"]) == ("running", "w1", held["door"])
    assert (shown["num_frames"], shown["measured_fps"], shown["latency_ms"]) == (7, 5, 40)


async def test_without_redis_calls_say_come_again(clients: Clients) -> None:
    client = await clients.open(redis_url="redis://127.0.0.1:9/0")
    response = await client.get("/v1/streams")
    assert_problem(response, 503)
    assert response.headers["retry-after"]
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/livez")).status_code == 200


async def test_a_server_that_became_a_replica_says_come_again_and_is_used_again(clients: Clients) -> None:
    """As in a failover whose news have not arrived, or behind a wrong address."""
    with EmbeddedRedis() as server:
        client = await clients.open(redis_url=server.url)
        assert (await client.post("/v1/streams", json=CAMERA)).status_code == 201
        async with RegistryStore(SETTINGS, redis_url=server.url) as store:
            await store.redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503
            for method, path, body in (
                ("GET", "/v1/streams", None),
                ("POST", "/v1/streams", CAMERA | {"id": "hall"}),
                ("PATCH", "/v1/streams/door", {"paused": True}),
                ("DELETE", "/v1/streams/door", None),
            ):
                answer = await client.request(method, path, json=body)
                assert_problem(answer, 503)
                assert answer.headers["Retry-After"]
            await store.redis.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
        assert (await client.patch("/v1/streams/door", json={"paused": True})).json()["paused"]


async def test_tokens_and_scopes(clients: Clients) -> None:
    entries = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": [scope]}
        for name, scope in (("reader", "read"), ("writer", "write"))
    ]
    stranger, reader, writer = [await clients.open(token=token, tokens=entries) for token in (None, "reader", "writer")]
    refused = await stranger.get("/v1/streams")
    assert_problem(refused, 401)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert_problem(await (await clients.open(token="wrong", tokens=entries)).get("/v1/models"), 401)
    assert (await stranger.get("/livez")).status_code == 200
    assert (await reader.get("/v1/streams")).status_code == 200
    assert "write" in assert_problem(await reader.post("/v1/streams", json=CAMERA), 403)
    assert_problem(await reader.delete("/v1/streams/door"), 403)
    assert (await writer.post("/v1/streams", json=CAMERA)).status_code == 201
    assert (await writer.get("/v1/streams")).status_code == 200


async def test_long_bodies_are_refused(clients: Clients) -> None:
    client = await clients.open(max_body_bytes=2000)
    long = json.dumps({"url": "rtsp://127.0.0.1/" + 3000 * "x"}).encode()
    assert_problem(await client.post("/v1/streams", content=long), 413)

    async def in_parts() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield long[:1000]

    assert_problem(await client.post("/v1/images", content=in_parts()), 413)


async def test_the_service_is_full(clients: Clients) -> None:
    client = await clients.open(max_streams=1)
    await client.post("/v1/streams", json=CAMERA)
    response = await client.post("/v1/streams", json={**CAMERA, "id": "more"})
    assert_problem(response, 503)


async def test_a_token_does_not_fill_the_service(clients: Clients) -> None:
    tokens = [{"name": name, "sha256": token_hash(name), "scopes": ["write"]} for name in ("ann", "bob")]
    client = await clients.open(max_streams_per_token=1, tokens=tokens)
    for name, stream_id, status in (("ann", "a", 201), ("ann", "a", 200), ("ann", "b", 429), ("bob", "b", 201)):
        headers = {"Authorization": f"Bearer {name}"}
        response = await client.post("/v1/streams", json={**CAMERA, "id": stream_id}, headers=headers)
        assert response.status_code == status


async def test_events_end_when_the_stream_is_over(
    clients: Clients, redis_server: EmbeddedRedis, leases_of: LeasesOf
) -> None:
    client = await clients.open(waits=Waits(idle_seconds=0.2))
    await client.post("/v1/streams", json=CAMERA)
    worker = leases_of("w1", ttl_seconds=5)
    held = await worker.claim(["door"])
    async with RedisSink(SETTINGS, redis_url=redis_server.url) as sink:
        await sink.publish(events_of("door", range(3), epoch=held["door"]))
    await worker.report({"door": StreamReport(StreamState.ENDED, "the end", "w1", held["door"])})
    async with asyncio.timeout(10):
        response = await client.get("/v1/streams/door/events?from=start")
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = response.text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith('data: {"')]
    assert [event["frame_index"] for event in events] == [0, 1, 2]
    assert lines[-3:-1] == ["event: end", "data: {}"] or lines[-2:] == ["event: end", "data: {}"]
    second = [line[4:] for line in lines if line.startswith("id: ")][1]
    async with asyncio.timeout(10):
        rest = await client.get("/v1/streams/door/events", headers={"Last-Event-ID": second})
    assert rest.text.count("event: emotion") == 1


def png(path: Path) -> Path:
    """320 by 240 pixels without a face."""
    return make_clip(
        path,
        num_frames=1,
        codec="png",
        pix_fmt="rgb24",
        width=320,
        height=240,
        picture=lambda _: corner_picture(320, 240),
    )


@pytest.mark.parametrize("kind", ["HEIF", "TIFF"])
async def test_pictures_of_phones_and_scanners(client: httpx.AsyncClient, kind: str) -> None:
    register_heif_opener()
    kinds: list[dict[str, Any]] = [{}, {"tile_size": 64} if kind == "HEIF" else {"compression": "jpeg"}]
    for options in kinds:
        file = io.BytesIO()
        Image.fromarray(corner_picture(320, 240)).save(file, kind, **options)
        response = await client.post("/v1/images", content=file.getvalue())
        assert response.status_code == 200, response.text
        assert (response.json()["frame_width"], response.json()["frame_height"]) == (320, 240)
        assert_problem(await client.post("/v1/images", content=file.getvalue()[: file.tell() // 2]), 422)


async def test_an_answer_says_that_more_pictures_follow(client: httpx.AsyncClient) -> None:
    picture, file = Image.fromarray(corner_picture(320, 240)), io.BytesIO()
    for others, expected in (([], None), ([picture.rotate(180)], "true")):
        file.seek(0)
        picture.save(file, "TIFF", save_all=True, append_images=others)
        response = await client.post("/v1/images", content=file.getvalue())
        assert response.status_code == 200, response.text
        assert response.headers.get("X-First-Of-Many") == expected
        assert "X-Faces-Left-Out" not in response.headers


async def test_a_picture_of_one_level_is_no_answer(client: httpx.AsyncClient, tmp_path: Path) -> None:
    gray = make_clip(tmp_path / "gray.png", num_frames=1, codec="png", pix_fmt="rgb24")
    assert_problem(await client.post("/v1/images", content=gray.read_bytes()), 422)


async def test_models_and_pictures(client: httpx.AsyncClient, shared_data: Path, tmp_path: Path) -> None:
    models = (await client.get("/v1/models")).json()
    assert "happy" in models[0]["labels"]
    picture = png(tmp_path / "picture.png")
    response = await client.post("/v1/images", content=picture.read_bytes(), headers={"Content-Type": "image/png"})
    assert response.status_code == 200, response.text
    assert (response.json()["frame_width"], response.json()["faces"]) == (320, [])
    part = make_clip(tmp_path / "part.ts", num_frames=3)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{part}\n#EXT-X-ENDLIST\n".encode()
    for body in (b"", b"no picture at all", b"\x89PNG\r\n", playlist, b"ffconcat version 1.0\nfile part.ts\n"):
        assert_problem(await client.post("/v1/images", content=body), 422)


async def test_a_picture_in_a_form_or_at_a_url(client: httpx.AsyncClient, tmp_path: Path) -> None:
    picture = png(tmp_path / "picture.png")
    with http_server(tmp_path) as base:
        for response in (
            await client.post("/v1/images", files={"file": ("picture.png", picture.read_bytes(), "image/png")}),
            await client.post("/v1/images", json={"url": f"{base}/picture.png"}),
            await client.post("/v1/images", json={"url": f"file://{picture}"}),
        ):
            assert response.status_code == 200, response.text
            assert response.json()["frame_width"] == 320
        absent = await client.post("/v1/images", json={"url": f"{base}/absent.png"})
        assert "404" in assert_problem(absent, 422)
    form = {"Content-Type": "multipart/form-data"}
    for refused in (
        await client.post("/v1/images", files={"other": ("picture.png", b"x", "image/png")}),
        await client.post("/v1/images", content=b"no form", headers=form),
        await client.post(
            "/v1/images", content=b"no form", headers={"Content-Type": "multipart/form-data; boundary=x"}
        ),
        await client.post("/v1/images", json={"url": "http://10.0.0.1/picture.png"}),
        await client.post("/v1/images", json={"url": "file:///etc/passwd"}),
        await client.post("/v1/images", json={"url": ""}),
        await client.post("/v1/images", content=b"{", headers={"Content-Type": "application/json"}),
    ):
        assert_problem(refused, 422)


async def test_pictures_that_do_not_come_hold_up_no_other_call(clients: Clients) -> None:
    client = await clients.open(max_requests_per_second=0, open_timeout_seconds=300)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        body = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/picture.jpg"}
        waiting = [asyncio.create_task(client.post("/v1/images", json=body)) for _ in range(40)]
        done, waiting_still = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused = done.pop().result()
        assert_problem(refused, 503)
        assert refused.headers["retry-after"]
        assert (await client.post("/v1/streams", json=CAMERA)).status_code == 201
        assert (await client.get("/v1/models")).status_code == 200
        assert sum(not task.done() for task in waiting_still) >= 32
        for task in waiting_still:
            task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_asks_too_often_waits(clients: Clients) -> None:
    tokens = [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("one", "other")]
    client = await clients.open(max_requests_per_second=2, token="one", tokens=tokens)
    statuses = [(await client.get("/v1/models")).status_code for _ in range(10)]
    assert set(statuses) == {200, 429}
    refused = await client.get("/v1/models")
    assert_problem(refused, 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert {(await client.get("/livez")).status_code for _ in range(10)} == {200}
    other = await client.get("/v1/models", headers={"Authorization": "Bearer other"})
    assert other.status_code == 200


@pytest.mark.parametrize("has_tokens", [True, False])
async def test_tokens_that_are_made_up_do_not_help(clients: Clients, has_tokens: bool) -> None:
    tokens = [{"name": "one", "sha256": hashlib.sha256(b"one").hexdigest()}] if has_tokens else []
    client = await clients.open(max_requests_per_second=2, tokens=tokens)
    headers = [{"Authorization": f"Bearer guess{number}"} for number in range(10)]
    statuses = [(await client.get("/v1/models", headers=each)).status_code for each in headers]
    assert set(statuses) == {401 if has_tokens else 200, 429}


async def test_the_tuning_of_a_stream(client: httpx.AsyncClient) -> None:
    created = (await client.post("/v1/streams", json={**CAMERA, "min_score": 0.6})).json()
    assert (created["min_score"], created["smoothing_seconds"]) == (0.6, None)
    changed = await client.patch("/v1/streams/door", json={"smoothing_seconds": 2, "hold_seconds": 0})
    tuning = {
        "smoothing_seconds": 2,
        "hold_seconds": 0,
        "switch_margin": None,
        "min_score": 0.6,
        "min_face_pixels": None,
    }
    assert {name: changed.json()[name] for name in tuning} == tuning
    assert (await client.patch("/v1/streams/door", json={"min_score": None})).json()["min_score"] is None
    assert_problem(await client.patch("/v1/streams/door", json={"min_score": 2}), 422)


async def test_the_description_is_complete(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert {"/v1/streams", "/v1/streams/{stream_id}", "/v1/streams/{stream_id}/events", "/v1/images"} <= document[
        "paths"
    ].keys()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation.get("description") for operation in operations)
    for name in ("StreamRequest", "StreamChange", "StreamView", "StreamList", "Readiness", "Problem", "PictureUrl"):
        schema = document["components"]["schemas"].get(name) or _picture_url_schema(document)
        assert schema["examples"], name


def _picture_url_schema(document: Any) -> Any:
    return document["paths"]["/v1/images"]["post"]["requestBody"]["content"]["application/json"]["schema"]


HARD_PASSWORDS = ["zebra/pw", "1234#5zebra", "12345/zebra", "ze bra", "p@ss?zebra", "50%zebra", "a:zebra", "zebra/x@y"]


@pytest.mark.parametrize("password", HARD_PASSWORDS)
async def test_passwords_of_all_kinds_are_taken_and_never_shown(
    clients: Clients, store: RegistryStore, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await clients.open(open_timeout_seconds=0.5)
    url = f"rtsp://admin:{password}@127.0.0.1:9/front?token=zebra&channel=1"
    created = await client.post("/v1/streams", json={"url": url})
    assert (created.status_code, created.json()["id"]) == (201, "front")
    assert created.json()["url"] == "rtsp://***@127.0.0.1:9/front?token=***&channel=1"
    assert (await client.post("/v1/streams", json={"url": url})).status_code == 200
    answers = [created, await client.get("/v1/streams"), await client.get("/v1/streams/front")]
    for place in ("127.0.0.1:9", "10.0.0.1", "nobody.invalid", "127.0.0.1:99999", "[bad"):
        for scheme in ("rtsp", "http", "nosuch"):
            wrong = f"{scheme}://admin:{password}@{place}/x.jpg"
            answers += [
                await client.post("/v1/streams", json={"url": wrong, "id": "b", "every": 0 if scheme == "rtsp" else 1}),
                await client.post("/v1/jobs", json={"url": wrong, "id": "b"}),
                await client.post("/v1/images", json={"url": wrong}),
            ]
    said = " ".join([*(answer.text for answer in answers), caplog.text])
    assert "zebra" not in said
    assert "ze bra" not in said
    # In Redis the password is in the registry only, which is the service's own.
    keys = [key async for key in store.redis.scan_iter("*")]
    for key in keys:
        if await store.redis.type(key) == b"stream":
            assert b"zebra" not in repr(await store.redis.xrange(key)).encode()


@pytest.mark.parametrize(
    "login", ["a%22%0d%0aSET%20pwned%201%0d%0aPLAY%20b:c", "a:b%250a", "a:b\r\n", "a:%2%350a", "a:b%C2%85", "%00:b"]
)
@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "rtmp", "srt", "s3"])
async def test_a_login_that_holds_lines_is_refused(client: httpx.AsyncClient, scheme: str, login: str) -> None:
    url = f"{scheme}://{login}@127.0.0.1:9/x"
    for path, body in {"streams": {}, "jobs": {"id": "b"}, "images": {}}.items():
        answer = await client.post(f"/v1/{path}", json={"url": url, **body})
        detail = assert_problem(answer, 422)
        assert "pwned" not in answer.text
        assert "characters" in detail
    assert (await client.get("/v1/streams")).json()["num_matching"] == 0
