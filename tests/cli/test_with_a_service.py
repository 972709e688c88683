"""`emostream tail --service` and `streams` with a real interface and a real worker on scripted streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emostream.client import AsyncServiceClient
from emostream.config import load_settings
from emostream.domain.stream import StreamState
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.api.tokens import token_hash
from emostream.service.registry.store import RegistryStore
from tests.integration.command_line import Outcome, run_emostream
from tests.service.conftest import SETTINGS, redis_server, store
from tests.service.http_service import served_api
from tests.service.worker_bench import Bench

__all__ = ["redis_server", "store"]
pytestmark = pytest.mark.integration

CAMERA = "rtsp://user:secret@127.0.0.1:9/{}"
TOKEN = {"name": "me", "sha256": token_hash("sesame"), "scopes": ["write"]}


@pytest.fixture
async def base(redis_server: EmbeddedRedis, store: RegistryStore, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a service that asks for a token, with the streams `door` and `hall`."""
    bench = Bench(store)
    settings = load_settings(service={"allowed_networks": ["127.0.0.0/8"], "tokens": [TOKEN]})
    async with (
        RedisSink(SETTINGS, redis_url=redis_server.url) as sink,
        served_api(settings, redis_url=redis_server.url) as base,
    ):
        bench.start_worker("w1", sink=sink)
        async with AsyncServiceClient(base, token="sesame") as client:
            for name in ("door", "hall"):
                await client.add(CAMERA.format(name), stream_id=name, target_fps=20)
                await client.wait_for(name, StreamState.RUNNING, timeout_seconds=10)
        yield base
        await bench.close()


async def run(*arguments: str, base: str, token: str = "sesame") -> Outcome:
    """A command, while the service goes on in this event loop."""
    environment = {"EMOSTREAM_SERVICE_TOKEN": token, "EMOSTREAM_SERVICE_URL": base}
    return await asyncio.to_thread(run_emostream, *arguments, environment=environment)


async def test_tail_of_all_streams_and_of_one(base: str) -> None:
    outcome = await run("tail", "--limit", "60", "--json", base=base)
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert {event["stream_id"] for event in events} == {"door", "hall"}
    outcome = await run(
        "tail", "hall", "--from", "start", "--limit", "20", "--json", "--service", base, base="http://x"
    )
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert {event["stream_id"] for event in events} == {"hall"}
    indexes = [event["frame_index"] for event in events]
    assert indexes == sorted(set(indexes)) and indexes[0] == 0 and len(indexes) == 20


async def test_tail_of_a_service_says_what_is_wrong(base: str) -> None:
    for arguments, token, code, message in (
        (["dor"], "sesame", 1, "dor"),
        ([], "wrong", 1, "--token"),
        (["--no-follow"], "sesame", 2, "--limit"),
        (["--status"], "sesame", 2, "--redis"),
        (["--from", "yesterday"], "sesame", 2, "yesterday"),
        (["--service", base, "--redis", "redis://127.0.0.1:9"], "sesame", 2, "one of them"),
    ):
        outcome = await run("tail", *arguments, base=base, token=token)
        assert (outcome.code, message in outcome.err) == (code, True), (arguments, outcome.err)


async def test_streams_are_changed(base: str) -> None:
    outcome = await run(
        "streams", "change", "door", "--fps", "5.5", "--every", "2", "--smoothing", "1", "--json", base=base
    )
    assert outcome.code == 0, outcome.err
    shown = json.loads(outcome.out)
    assert (shown["target_fps"], shown["every"], shown["smoothing_seconds"]) == (5.5, 2, 1)
    outcome = await run("streams", "change", "door", "--fps", "default", "--json", base=base)
    shown = json.loads(outcome.out)
    assert (shown["target_fps"], shown["every"], shown["smoothing_seconds"]) == (None, 2, 1)
    for arguments, message in ((["--fps", "fast"], "fast"), ([], "--fps"), (["--fps", "-1"], "target_fps")):
        outcome = await run("streams", "change", "door", *arguments, base=base)
        assert outcome.code != 0 and message in outcome.err, outcome.err
