"""Both clients on a real interface with a real worker: streams, events over a broken connection, pictures, errors."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emostream.client import ApiError, AsyncServiceClient, EmotionEvents, ServiceClient
from emostream.config import load_settings
from emostream.domain.stream import StreamState
from emostream.errors import ConfigError, ServiceUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.registry.store import RegistryStore
from tests.media import make_clip, textured_picture
from tests.ports import unused_port
from tests.service.conftest import SETTINGS, redis_server, store
from tests.service.http_service import served_api
from tests.service.tcp_proxy import TcpProxy
from tests.service.worker_bench import Bench

__all__ = ["redis_server", "store"]
pytestmark = pytest.mark.integration

CAMERA = "rtsp://user:secret@127.0.0.1:9/1"


@pytest.fixture
async def base(redis_server: EmbeddedRedis, store: RegistryStore, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a service with a worker on scripted streams."""
    bench = Bench(store)
    settings = load_settings(service={"media_root": tmp_path, "allowed_networks": ["127.0.0.0/8"]})
    async with (
        RedisSink(SETTINGS, redis_url=redis_server.url) as sink,
        served_api(settings, redis_url=redis_server.url) as base,
    ):
        bench.start_worker("w1", sink=sink)
        yield base
        await bench.close()


async def test_streams_from_an_event_loop(base: str) -> None:
    async with AsyncServiceClient(base) as client:
        added = await client.add(CAMERA, stream_id="door", target_fps=20, smoothing_seconds=1.0)
        assert (added.id, added.url, added.target_fps, added.smoothing_seconds) == (
            "door",
            "rtsp://***@127.0.0.1:9/1",
            20,
            1,
        )
        running = await client.wait_for("door", StreamState.RUNNING, timeout_seconds=10)
        assert running.worker_id == "w1"
        assert (await client.change("door", paused=True)).paused
        assert [view.id async for view in client.streams(state=StreamState.RUNNING, prefix="d")] == ["door"]
        assert [view.id async for view in client.streams(search="127.0.0.1:9")] == ["door"]
        assert [view.id async for view in client.streams(search="hall")] == []
        assert (await client.readiness()).num_workers == 1
        (worker,) = await client.workers()
        assert (worker.id, worker.stream_ids) == ("w1", ["door"])
        history = await client.history("door", seconds=60, limit=5)
        assert history.step_seconds == 12
        until = datetime(2026, 1, 1, tzinfo=UTC)
        assert (await client.history("door", until=until)).until == until
        assert (await client.models())[0].labels
        with pytest.raises(TimeoutError, match="door"):
            await client.wait_for("door", StreamState.FAILED, timeout_seconds=0)
        await client.remove("door")
        with pytest.raises(ApiError) as caught:
            await client.show("door")
        assert caught.value.status == 404


async def test_streams_from_plain_code(base: str) -> None:
    client = ServiceClient(base)

    def use() -> None:
        assert client.add(CAMERA, stream_id="door").kind == "live"
        client.wait_for("door", StreamState.RUNNING, timeout_seconds=10)
        events = client.events("door")
        assert [next(events).stream_id for _ in range(5)] == 5 * ["door"]
        events.close()
        assert client.preview("door", blur=True).jpeg.startswith(b"\xff\xd8")
        assert [view.id for view in client.streams()] == ["door"]
        assert client.change("door", every=2).every == 2
        assert client.readiness().ready
        assert client.models()[0].name
        client.remove("door")
        with pytest.raises(ApiError) as caught:
            client.remove("door")
        assert caught.value.status == 404

    await asyncio.to_thread(use)


async def test_jobs(base: str, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mkv", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")  # the worker's streams are scripted
    options: dict[str, Any] = {"job_id": "archive", "parallel": 3, "max_frames": 5}
    async with AsyncServiceClient(base) as client:
        added = await client.add_job(f"file://{tmp_path}", **options)
        assert (added.id, added.num_files, added.parallel) == ("archive", 3, 3)
        done = await client.wait_for_job("archive", timeout_seconds=60)
        assert (done.num_ended, done.num_failed, done.num_frames) == (3, 0, 15)
        files = [file async for file in client.job_files("archive")]
        assert {file.url for file in files} == {f"file://{tmp_path}/{name}" for name in ("a.mp4", "b.mp4", "c.mkv")}
        assert [job.id for job in await client.jobs()] == ["archive"]

    def use() -> None:
        plain = ServiceClient(base)
        assert (
            plain.add_job(f"file://{tmp_path}", **options) == plain.wait_for_job("archive", timeout_seconds=0) == done
        )
        assert list(plain.job_files("archive")) == files
        assert plain.jobs() == [done]
        plain.remove_job("archive")
        with pytest.raises(ApiError) as caught:
            plain.job("archive")
        assert caught.value.status == 404

    await asyncio.to_thread(use)


async def test_pictures(base: str, shared_data: Path, tmp_path: Path) -> None:
    picture = make_clip(
        tmp_path / "picture.png",
        num_frames=1,
        codec="png",
        pix_fmt="rgb24",
        width=320,
        height=240,
        picture=lambda index: textured_picture(index, width=320, height=240),
    )
    async with AsyncServiceClient(base) as client:
        for given in (picture, picture.read_bytes(), f"file://{picture}"):
            assert (await client.classify(given)).frame_width == 320
        with pytest.raises(ApiError) as caught:
            await client.classify(b"")
        assert caught.value.status == 422


async def test_events_go_on_after_a_cut_without_gap_or_repetition(base: str, redis_server: EmbeddedRedis) -> None:
    indexes: list[int] = []
    async with TcpProxy(int(base.rpartition(":")[2]), max_answer_bytes=20_000) as network:
        async with AsyncServiceClient(f"http://127.0.0.1:{network.port}") as client:
            await client.add(CAMERA, stream_id="door")
            await client.wait_for("door", StreamState.RUNNING, timeout_seconds=10)
            async with aclosing(client.events("door", start="start")) as events:
                while len(indexes) < 150:
                    indexes.append((await anext(events)).frame_index)
        assert network.num_connections > 2
    published = [event async for event in EmotionEvents(redis_server.url, streams="door", follow=False)]
    assert indexes == [event.frame_index for event in published[:150]]  # a busy machine drops frames of a live stream


async def test_a_quiet_stream_may_lose_its_connection_now_and_then() -> None:
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: waiting\n\n")
        await asyncio.sleep(0.3)
        if len(connections) % 5 == 0:
            writer.write(b"event: end\ndata: {}\n\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncServiceClient(url) as client:
            assert [event async for event in client.events("door", max_retry_seconds=0.5)] == []
        assert await asyncio.to_thread(lambda: list(ServiceClient(url).events("door", max_retry_seconds=0.5))) == []
    assert len(connections) == 10


async def test_what_is_wrong_is_said_before_it_is_sent() -> None:
    client = ServiceClient("http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="target_fps") as caught:
        client.add(CAMERA, target_fps=-1)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="speed"):
        client.change("door", speed=2)
    for wrong in (ServiceClient, AsyncServiceClient):
        with pytest.raises(ConfigError):
            wrong("ftp://user:secret@host")


async def test_an_unreachable_server() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(ServiceUnavailableError):
        await asyncio.to_thread(ServiceClient(url).show, "door")
    with pytest.raises(ServiceUnavailableError):
        await asyncio.to_thread(lambda: list(ServiceClient(url).events("door", max_retry_seconds=0.2)))
    async with AsyncServiceClient(url) as client:
        with pytest.raises(ServiceUnavailableError):
            await client.show("door")
        with pytest.raises(ServiceUnavailableError):
            async for _ in client.events("door", max_retry_seconds=0.2):
                pass


@pytest.mark.parametrize("client", [ServiceClient, AsyncServiceClient])
def test_a_proxy_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch, client: type) -> None:
    for proxy in ("socks9://user:secret@127.0.0.1:9", "socks5://user:secret@127.0.0.1:9"):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(ConfigError, match="ALL_PROXY") as caught:
            client("http://127.0.0.1:9")
        assert "secret" not in str(caught.value)


async def test_methods_describe_themselves() -> None:
    for client in (ServiceClient("http://127.0.0.1:9"), AsyncServiceClient("http://127.0.0.1:9")):
        assert list(inspect.signature(client.add).parameters) == ["url", "stream_id", "options"]
        assert client.add.__doc__ and client.add.__name__ == "add"


async def test_a_token_is_sent(redis_server: EmbeddedRedis, store: RegistryStore) -> None:
    tokens: list[dict[str, Any]] = [
        {"name": "a", "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "scopes": ["read"]}
    ]
    async with served_api(load_settings(service={"tokens": tokens}), redis_url=redis_server.url) as base:
        assert await asyncio.to_thread(lambda: list(ServiceClient(base, token="secret").streams())) == []
        with pytest.raises(ApiError) as caught:
            await asyncio.to_thread(lambda: list(ServiceClient(base).streams()))
        assert caught.value.status == 401
