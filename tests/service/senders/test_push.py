"""Pictures over a WebSocket, with a real client, server, worker, registry and models: each gets its answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from emostream.config import Settings, load_settings
from emostream.pipeline.build import Models
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.push import CREDIT
from emostream.service.api.tokens import token_hash
from emostream.service.registry.store import RegistryStore
from emostream.service.worker.open import open_worker
from tests.conftest import REPOSITORY
from tests.service.http_service import served_api

pytestmark = pytest.mark.integration

TOKENS = [
    {"name": name, "sha256": token_hash(name), "scopes": [scope]}
    for name, scope in (("sender", "write"), ("viewer", "read"))
]


def settings_of(**service: Any) -> Settings:
    return load_settings(
        service={"tokens": TOKENS, "heartbeat_seconds": 0.1, "allowed_networks": ["127.0.0.0/8"]} | service,
        decode={"max_frame_pixels": 1_000_000},
    )


@pytest.fixture
async def base(store: RegistryStore, redis_server: EmbeddedRedis, models: Models) -> AsyncIterator[str]:
    """The interface, and a worker."""
    settings = settings_of()
    async with (
        open_worker(settings, redis_url=redis_server.url, worker_id="w1", models=models),
        served_api(settings, redis_url=redis_server.url) as base,
    ):
        yield base


def file_of(rgb: Any, suffix: str = ".jpg") -> bytes:
    _, content = cv2.imencode(suffix, np.ascontiguousarray(rgb[:, :, ::-1]))
    return content.tobytes()


def message(at: float, content: bytes) -> bytes:
    return struct.pack(">d", at) + content


@contextlib.asynccontextmanager
async def pushing(base: str, stream_id: str = "cam", *, token: str = "sender", **options: Any) -> AsyncIterator[Any]:
    url = f"{base.replace('http', 'ws', 1)}/v1/streams/{stream_id}/push"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= options.pop("headers", {})
    async with connect(url, additional_headers=headers, open_timeout=20, **options) as connection:
        assert json.loads(await connection.recv()) == {"credit": CREDIT}
        yield connection


async def answer(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        content: dict[str, Any] = json.loads(await connection.recv())
    return content


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
async def test_each_picture_gets_its_event(base: str, portrait: Any, suffix: str) -> None:
    async with pushing(base, f"cam{suffix[1:]}") as connection:
        answers = []
        for number in range(6):
            await connection.send(message(number / 10, file_of(portrait, suffix)))
            answers.append(await answer(connection))
    assert [item["at"] for item in answers] == [number / 10 for number in range(6)]
    events = [item["event"] for item in answers]
    assert {(event["stream_id"], event["frame_width"]) for event in events} == {(f"cam{suffix[1:]}", 512)}
    assert {face["dominant"] for event in events for face in event["faces"]} == {"happy"}
    assert len({face["track_id"] for event in events for face in event["faces"]}) == 1
    assert len({event["frame_index"] for event in events}) == 6


async def test_every_picture_is_answered_and_the_newest_wins(base: str, portrait: Any) -> None:
    picture = file_of(portrait)
    async with pushing(base) as connection:
        for number in range(30):  # far beyond the credit
            await connection.send(message(number / 25, picture))
        answers = [await answer(connection) for _ in range(30)]
    assert sorted(item["at"] for item in answers) == [number / 25 for number in range(30)]
    kept = [item["at"] for item in answers if "event" in item]
    assert kept == sorted(kept) and kept[0] == 0 and kept[-1] == 29 / 25
    assert all(item.get("dropped") for item in answers if "event" not in item)


async def test_another_connection_goes_on_with_the_stream(base: str, portrait: Any) -> None:
    indexes = []
    for _ in range(2):
        async with pushing(base) as connection:
            await connection.send(message(1, file_of(portrait)))
            indexes.append((await answer(connection))["event"]["frame_index"])
    assert indexes[0] < indexes[1]


async def test_pictures_that_are_none(base: str, portrait: Any) -> None:
    good = file_of(portrait)
    wrong = [
        b"",
        b"nonsense",
        good[:-200],
        good[:20],
        file_of(portrait, ".png"),
        file_of(np.zeros((1100, 1000, 3), np.uint8)),
        b"RIFF\0\0\0\0WEBP",
    ]
    async with pushing(base) as connection:
        for number, content in enumerate(wrong):
            await connection.send(message(number, content))
            told = await answer(connection)
            assert told["at"] == number and told["error"], content[:10]
        damaged = good[:600] + bytes(len(good) - 602) + good[-2:]  # the headers say nothing of it
        await connection.send(message(100, damaged))
        assert {"event", "dropped"} & (await answer(connection)).keys()
        for at in (100, 99):
            await connection.send(message(at, good))
            assert "error" in await answer(connection)
        await connection.send(message(101, good))
        assert "event" in await answer(connection)
        one = file_of(np.full((1, 1, 3), 90, np.uint8))
        await connection.send(message(102, one))
        assert (await answer(connection))["event"]["frame_width"] == 1


@pytest.mark.parametrize(
    ("sent", "code"),
    [("text", 1003), (b"short", 1003), (struct.pack(">d", float("nan")), 1003), (struct.pack(">d", -1.0), 1003)],
)
async def test_messages_that_are_none(base: str, sent: Any, code: int) -> None:
    async with pushing(base) as connection:
        await connection.send(sent)
        with pytest.raises(ConnectionClosed) as closed:
            await answer(connection)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"token": ""}, 401),
        ({"token": "unknown"}, 401),
        ({"token": "viewer"}, 403),
        ({"stream_id": "a%20b"}, 422),
        ({"stream_id": "door"}, 409),
        ({"headers": {"Origin": "https://evil.example"}}, 403),
        ({"headers": {"Origin": "null"}}, 403),
        ({"headers": {"Origin": "http://["}}, 403),
        ({"stream_id": "x" * 70}, 422),
        ({"stream_id": "%00"}, 422),
    ],
)
async def test_connections_that_are_refused(base: str, options: dict[str, Any], status: int) -> None:
    async with httpx.AsyncClient(base_url=base, headers={"Authorization": "Bearer sender"}) as client:
        assert (await client.post("/v1/streams", json={"id": "door", "url": "rtsp://127.0.0.1:9/1"})).is_success
        with pytest.raises(InvalidStatus) as refused:
            async with pushing(base, **options):
                pass
        assert refused.value.response.status_code == status
        assert [item["id"] for item in (await client.get("/v1/streams")).json()["streams"]] == ["door"]


async def test_a_token_of_a_web_page(base: str, portrait: Any) -> None:
    page = {"Origin": base}
    async with pushing(base, token="", headers=page, subprotocols=["emostream", "bearer.sender"]) as connection:
        assert connection.subprotocol == "emostream"
        await connection.send(message(0, file_of(portrait)))
        assert "event" in await answer(connection)


async def test_clients_that_vanish_leave_nothing_behind(base: str, portrait: Any) -> None:
    """Their connections break without a word, while pictures are on their way."""
    picture = file_of(portrait)

    def num_left() -> tuple[int, int]:
        connections = psutil.Process().net_connections("tcp")
        port = urlsplit(base).port
        of_streams = ("Pipeline.", "StreamHost.")  # they wait for another sender
        names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
        num_tasks = len([name for name in names if not name.startswith(of_streams)])
        return num_tasks, len([item for item in connections if item.laddr and item.laddr.port == port])

    before = num_left()
    for number in range(25):
        async with pushing(base, f"cam{number % 2}") as connection:
            await connection.send(message(0, picture))
            connection.transport.abort()
    async with asyncio.timeout(30):
        while any(now > then for now, then in zip(num_left(), before, strict=True)):
            await asyncio.sleep(0.05)
    async with pushing(base, "cam0") as connection:
        await connection.send(message(0, picture))
        assert "event" in await answer(connection)


async def test_a_stream_that_is_deleted_ends_the_connection(base: str) -> None:
    async with (
        pushing(base) as connection,
        httpx.AsyncClient(base_url=base, headers={"Authorization": "Bearer sender"}) as client,
    ):
        assert (await client.delete("/v1/streams/cam")).status_code == 204
        with pytest.raises(ConnectionClosed) as closed:
            await answer(connection)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


async def test_it_can_be_disabled(redis_server: EmbeddedRedis) -> None:
    async with served_api(settings_of(max_pushed_streams=0), redis_url=redis_server.url) as base:
        with pytest.raises(InvalidStatus) as refused:
            async with pushing(base):
                pass
        assert refused.value.response.status_code == 403


async def test_limits(store: RegistryStore, redis_server: EmbeddedRedis, models: Models) -> None:
    settings = settings_of(max_pushed_streams=1)
    async with (
        open_worker(settings, redis_url=redis_server.url, worker_id="w1", models=models),
        served_api(settings, redis_url=redis_server.url) as base,
        pushing(base, "one"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with pushing(base, "two"):
                pass
        assert refused.value.response.status_code == 503


async def test_a_token_does_not_fill_the_service(store: RegistryStore, redis_server: EmbeddedRedis) -> None:
    headers = {"Authorization": "Bearer sender"}
    async with (
        served_api(settings_of(max_streams_per_token=1), redis_url=redis_server.url) as base,
        httpx.AsyncClient(base_url=base, headers=headers) as client,
    ):
        assert (await client.post("/v1/streams", json={"id": "one", "url": "push://"})).status_code == 201
        with pytest.raises(InvalidStatus) as refused:
            async with pushing(base, "two"):
                pass
        assert refused.value.response.status_code == 429


async def test_the_example_of_the_guide(
    base: str, portrait: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (REPOSITORY / "docs" / "sources.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(file_of(portrait))
    monkeypatch.chdir(tmp_path)
    code = code.replace("ws://localhost:8000", base.replace("http", "ws", 1)).replace("Bearer TOKEN", "Bearer sender")
    await asyncio.to_thread(exec, compile(code, "page", "exec"), {})
    assert "happy" in capsys.readouterr().out
