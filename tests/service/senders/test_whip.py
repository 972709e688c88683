"""WHIP from the request to the events, with a real client, worker, registry and models."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psutil
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from prometheus_client.parser import text_string_to_metric_families

from emostream.config import Settings, load_settings
from emostream.domain.event import EmotionEvent
from emostream.pipeline.build import Models
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.app import build_api
from emostream.service.api.tokens import token_hash
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.open import open_worker
from emostream.wire.events import decode_event
from emostream.wire.keys import events_key
from tests.service.senders.webrtc_sender import GrayPictures, OnePicture, needs_an_address, offered, sending

pytestmark = [pytest.mark.integration, needs_an_address]

RESULTS = ("accepted", "refused", "later", "failed")
SDP = {"Content-Type": "application/sdp"}
TOKENS = [
    {"name": name, "sha256": token_hash(name), "scopes": [scope]}
    for name, scope in (("sender", "write"), ("viewer", "read"))
]


def settings_of(**service: Any) -> Settings:
    return load_settings(
        service={**service, "tokens": TOKENS, "heartbeat_seconds": 0.1, "allowed_networks": ["127.0.0.0/8"]},
        publish={"connect_timeout_seconds": 2.0},
        metrics={"interval_seconds": 0.1},
        webrtc={"enabled": True},
    )


@contextlib.asynccontextmanager
async def api_of(settings: Settings, redis_url: str, *, token: str = "sender") -> AsyncIterator[httpx.AsyncClient]:
    app = build_api(settings, redis_url=redis_url)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers, timeout=30) as client,
    ):
        yield client


@pytest.fixture
async def client(store: RegistryStore, redis_server: EmbeddedRedis, models: Models) -> AsyncIterator[httpx.AsyncClient]:
    """The interface, and a worker that takes senders."""
    settings = settings_of()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            open_worker(settings, redis_url=redis_server.url, worker_id="w1", models=models)
        )
        yield await stack.enter_async_context(api_of(settings, redis_server.url))


def whip(client: httpx.AsyncClient, stream_id: str, answers: list[httpx.Response]) -> Callable[[str], Awaitable[str]]:
    async def exchange(sdp: str) -> str:
        answer = await client.post(f"/v1/whip/{stream_id}", content=sdp, headers=SDP)
        answers.append(answer)
        assert answer.status_code == 201, answer.text
        return answer.text

    return exchange


async def until(holds: Callable[[], Awaitable[bool]], *, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


async def metric(client: httpx.AsyncClient, name: str, **labels: str) -> float | None:
    """A value of the worker; None where there is none."""
    text = (await client.get("/metrics", headers={"Authorization": "Bearer viewer"})).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == {"worker_id": "w1", **labels}:
                return float(sample.value)
    return None


async def events_of(store: RegistryStore, stream_id: str) -> list[EmotionEvent]:
    entries: Any = await store.redis.xrange(events_key(stream_id))
    return [decode_event(fields) for _, fields in entries]


async def test_a_sender_is_a_stream_like_any_other(
    client: httpx.AsyncClient, store: RegistryStore, portrait: Any
) -> None:
    answers: list[httpx.Response] = []

    async def stream() -> Any:
        return (await client.get("/v1/streams/phone")).json()

    async def has_faces() -> bool:
        return any(event.faces for event in (await events_of(store, "phone"))[5:])

    async def runs() -> bool:
        return bool((await stream())["state"] == "running")

    async def waits() -> bool:
        return bool((await stream())["state"] == "reconnecting")

    pictures = OnePicture(portrait[:480, :480])
    async with sending(whip(client, "phone", answers), pictures=pictures):
        await until(has_faces)
        await until(runs)
        assert (await stream())["url"] == "push://" and (await stream())["width"] == 480
        assert [item["id"] for item in (await client.get("/v1/streams")).json()["streams"]] == ["phone"]
        assert (await client.get("/v1/streams/phone/preview.jpg")).headers["content-type"] == "image/jpeg"
        location = answers[0].headers["location"]
        assert location.startswith("/v1/whip/phone/") and answers[0].headers["content-type"] == "application/sdp"
        assert (await client.patch(location, content="a=ice-ufrag:x")).status_code == 405
        assert (await client.delete(f"{location}x")).status_code == 404
        assert (await client.delete(location)).status_code == 200
        await until(waits)
    assert (await client.delete(location)).status_code == 404
    async with sending(whip(client, "phone", answers), codec="video/H264"):  # the same stream, another session
        num_before = len(await events_of(store, "phone"))

        async def goes_on() -> bool:
            return len(await events_of(store, "phone")) > num_before + 5

        await until(goes_on)
    events = await events_of(store, "phone")
    assert {face.dominant for event in events for face in event.faces[:1]} == {"happy"}
    assert len({event.epoch for event in events}) == 1
    for name in ("frame_index", "pts_seconds"):
        values = [getattr(event, name) for event in events]
        assert values == sorted(set(values))
    assert (await client.delete("/v1/streams/phone")).status_code == 204
    assert not [key async for key in store.redis.scan_iter("*offer*")]


async def test_metrics_of_senders(client: httpx.AsyncClient, store: RegistryStore) -> None:
    bytes_of_phone = "emostream_sender_received_bytes_total"

    async def is_told() -> bool:
        return bool(await metric(client, bytes_of_phone, stream_id="phone")) and bool(
            await metric(client, "emostream_senders", kind="webrtc")
        )

    async def waits() -> bool:
        return await metric(client, "emostream_sender_waiting_streams") == 1

    async def has_no_lag() -> bool:
        return await metric(client, "emostream_source_lag_seconds", stream_id="phone") is None

    async def is_forgotten() -> bool:
        return await metric(client, bytes_of_phone, stream_id="phone") is None

    answers: list[httpx.Response] = []
    async with sending(whip(client, "phone", answers)):
        await until(is_told)
        assert await metric(client, "emostream_senders", kind="webrtc") == 1
        assert await metric(client, "emostream_senders", kind="pictures") == 0
        for name in ("lost_packets", "key_frame_requests", "retransmission_requests"):
            assert await metric(client, f"emostream_sender_{name}_total", stream_id="phone") == 0
        assert (await client.post("/v1/whip/other", content="v=0\r\nm=video 9 X 1\r\n", headers=SDP)).is_error
        await client.delete(answers[0].headers["location"])
    await until(waits)
    await until(has_no_lag)  # nobody sends, so nothing is late
    assert await metric(client, "emostream_senders", kind="webrtc") == 0
    assert await metric(client, "emostream_streams", state="reconnecting") == 1
    results = {name: await metric(client, "emostream_sender_offers_total", result=name) for name in RESULTS}
    assert results == {"accepted": 1, "refused": 1, "later": 0, "failed": 0}
    await client.delete("/v1/streams/phone")
    await until(is_forgotten)


async def test_a_stream_can_be_made_before_its_sender_comes(client: httpx.AsyncClient, store: RegistryStore) -> None:
    wish = {"id": "robot", "url": "push://", "target_fps": 5}
    assert (await client.post("/v1/streams", json=wish)).status_code == 201

    async def has_events() -> bool:
        return len(await events_of(store, "robot")) >= 4

    async with sending(whip(client, "robot", [])):
        await until(has_events)
    events = await events_of(store, "robot")
    steps = [after.pts_seconds - before.pts_seconds for before, after in itertools.pairwise(events)]
    assert min(steps) > 0.15
    assert (await client.get("/v1/streams/robot")).json()["target_fps"] == 5


async def test_requests_that_are_refused(client: httpx.AsyncClient, redis_server: EmbeddedRedis) -> None:
    offer = await an_offer()

    async def post(content: Any = offer, *, stream_id: str = "x", **headers: str) -> int:
        response = await client.post(f"/v1/whip/{stream_id}", content=content, headers=SDP | headers)
        assert response.status_code == 201 or response.json()["detail"]
        return response.status_code

    assert await post(**{"Content-Type": "text/plain"}) == 415
    assert await post("v=0") == 422
    assert await post("nonsense") == 400
    assert await post(b"v=0\r\n\xff") == 400
    assert await post("") == 400
    assert await post("v=0\r\n" + "a=x\r\n" * 20_000) == 413
    assert await post(re.sub("VP8/90000", "AV1/90000", offer)) == 422
    assert await post(offer, stream_id="a b") == 422
    assert await post(offer, Authorization="Bearer viewer") == 403
    assert await post(offer, Authorization="Bearer unknown") == 401
    assert (await client.get("/v1/streams")).json()["streams"] == []  # none of them left a stream
    assert (await client.get("/v1/whip/x")).status_code == 405
    assert (await client.delete("/v1/whip/x/y")).status_code == 404
    assert (await client.post("/v1/streams", json={"id": "door", "url": "rtsp://127.0.0.1:9/1"})).status_code == 201
    assert await post(stream_id="door") == 409
    async with api_of(load_settings(), redis_server.url, token="") as disabled:
        assert (await disabled.post("/v1/whip/x", content=offer, headers=SDP)).status_code == 403


async def test_without_a_worker(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    async with api_of(settings_of(max_streams_per_token=1), redis_server.url) as client:
        answer = await client.post("/v1/whip/x", content=await an_offer(), headers=SDP)
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert (await client.get("/v1/streams")).json()["streams"] == []
        assert (await client.post("/v1/streams", json={"id": "one", "url": "push://"})).status_code == 201
        assert (await client.post("/v1/whip/x", content=await an_offer(), headers=SDP)).status_code == 429


async def test_several_senders_at_once(client: httpx.AsyncClient, store: RegistryStore) -> None:
    names = [f"c{number}" for number in range(4)]

    async def all_have_events() -> bool:
        return all([len(await events_of(store, name)) > 5 for name in names])

    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(sending(whip(client, name, []), pictures=GrayPictures(160, 120)))
        await until(all_have_events)


async def test_floods_of_offers_leave_nothing_behind(client: httpx.AsyncClient) -> None:
    offer = await an_offer()

    async def post(content: str) -> int:
        return (await client.post("/v1/whip/phone", content=content, headers=SDP)).status_code

    async def flood() -> None:
        """Of what is accepted the newest stays; what cannot be read does not come to the worker."""
        answered = Counter(await asyncio.gather(*(post(offer) for _ in range(50))))
        assert answered.keys() <= {201, 503} and answered[201], answered
        assert set(await asyncio.gather(*(post("nonsense") for _ in range(2000)))) <= {400, 429}
        assert (await client.delete("/v1/streams/phone")).status_code == 204

    async def is_as_before() -> bool:
        return all(now <= then for now, then in zip(left_behind(), before, strict=True))

    await post(offer)
    await client.delete("/v1/streams/phone")
    await until(no_sender)
    before = left_behind()
    await flood()
    await until(is_as_before)


async def no_sender() -> bool:
    return not psutil.Process().net_connections("udp")


def left_behind() -> tuple[int, int, int]:
    """UDP sockets, threads, tasks. Connections to Redis are kept for the next request."""
    threads = [thread for thread in threading.enumerate() if "asyncio" not in thread.name]  # its pool grows once
    return len(psutil.Process().net_connections("udp")), len(threads), len(asyncio.all_tasks())


async def an_offer() -> str:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        return await offered(connection, GrayPictures())
    finally:
        await connection.close()
