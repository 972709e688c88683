"""Every recipe in docs/recipes.md runs as it stands there, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import uvicorn

from emostream.client import ServiceClient
from emostream.config import PublishSettings, load_settings
from emostream.errors import ServiceUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.api.app import build_api
from emostream.service.api.tokens import token_hash
from tests.conftest import REPOSITORY
from tests.ports import unused_port
from tests.publish.samples import STATUS, events_of

pytestmark = pytest.mark.integration

COMMANDS = {"python": [sys.executable, "-c"], "sh": ["sh", "-ec"], "js": ["node", "-e"]}
NEEDS = {"python": sys.executable, "sh": "redis-cli", "js": "node"}
TOKEN = "secret"
NODE_PATH = ":".join([os.environ.get("NODE_PATH", ""), "/usr/share/nodejs"])  # where Debian keeps packages of Node


def recipes() -> list[object]:
    page = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|sh|js)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 9
    return [pytest.param(kind, text, id=f"{kind}-{number}") for number, (kind, text) in enumerate(blocks)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def publish(url: str) -> None:
        async with RedisSink(PublishSettings(), redis_url=url) as sink:
            await sink.publish(events_of("door", range(5)))
            await sink.publish_status(replace(STATUS, stream_id="door"))

    with EmbeddedRedis() as server:
        asyncio.run(publish(server.url))
        yield server.url.replace("redis://:", "redis://default:")  # redis-cli sends no empty user name


@pytest.fixture(scope="module")
def service_url(url: str) -> Iterator[str]:
    """The interface, which knows the stream and asks for a token."""
    token = {"name": "a", "sha256": token_hash(TOKEN), "scopes": ["write"]}
    settings = load_settings(service={"tokens": [token], "allowed_networks": ["127.0.0.0/8"]})
    port = unused_port()
    config = uvicorn.Config(build_api(settings, redis_url=url), port=port, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with ServiceClient(f"http://127.0.0.1:{port}", token=TOKEN) as client:
            wait_until_ready(client)
            client.add("rtsp://127.0.0.1:9/1", stream_id="door")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def wait_until_ready(client: ServiceClient) -> None:
    for _ in range(200):
        with contextlib.suppress(ServiceUnavailableError):
            assert list(client.streams()) == []
            return
        time.sleep(0.1)
    raise AssertionError("the interface does not answer")


@pytest.mark.parametrize(("kind", "text"), recipes())
def test_recipe(url: str, service_url: str, kind: str, text: str) -> None:
    if shutil.which(NEEDS[kind]) is None:
        pytest.skip(f"needs {NEEDS[kind]}")
    environment = os.environ | {"REDIS_URL": url, "SERVICE_URL": service_url, "TOKEN": TOKEN, "NODE_PATH": NODE_PATH}
    for package in re.findall(r'require\("([a-z]+)"\)', text):
        resolve = ["node", "-p", f'require.resolve("{package}")']
        if subprocess.run(resolve, capture_output=True, check=False, env=environment).returncode:
            pytest.skip(f"needs the npm package {package} where Node looks for it (NODE_PATH)")
    outcome = subprocess.run(
        [*COMMANDS[kind], text],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "4" in outcome.stdout or "happy" in outcome.stdout or "ended" in outcome.stdout, outcome.stdout
    assert "NOAUTH" not in outcome.stdout
