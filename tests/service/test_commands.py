"""`emostream serve` and `emostream streams` when something is missing: one message, an exit code."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from emostream.client.http.json_client import ApiClient, ApiError
from emostream.config import load_settings
from emostream.errors import ConfigError, ServiceUnavailableError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.tokens import token_hash
from emostream.service.registry.store import RegistryStore
from tests.integration.command_line import run_emostream
from tests.ports import unused_port
from tests.service.conftest import LeasesOf
from tests.service.http_service import served_api

pytestmark = pytest.mark.integration


def test_no_service_there() -> None:
    outcome = run_emostream("streams", "list", "--service", f"http://127.0.0.1:{unused_port()}")
    assert outcome.code == 6
    assert "is `emostream serve` running?" in outcome.err


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError):
        ApiClient("ftp://user:secret@host")


def test_something_else_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        client = ApiClient(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=0.2)
        with pytest.raises(ServiceUnavailableError):
            client.show("door")


async def test_the_error_about_a_missing_token_names_the_option(redis_server: EmbeddedRedis) -> None:
    token = {"name": "me", "sha256": token_hash("secret")}
    async with served_api(load_settings(service={"tokens": [token]}), redis_url=redis_server.url) as url:
        with pytest.raises(ApiError, match=r"--token.*EMOSTREAM_SERVICE_TOKEN") as caught:
            await asyncio.to_thread(ApiClient(url).show, "door")
        assert caught.value.status == 401


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "10.0.0.1:6379"], "--redis"),
        (["--tls-cert", __file__], "both --tls-cert and --tls-key"),
        (["--redis-port", "7000", "--redis", "redis://127.0.0.1:9"], "--redis-port"),
        (["--allow-network", "inside", "--redis", "redis://127.0.0.1:9"], "allowed_networks"),
    ],
    ids=["cluster without Redis", "half of TLS", "port of another Redis", "no network"],
)
def test_serve_says_what_is_missing(arguments: list[str], message: str) -> None:
    outcome = run_emostream("serve", *arguments)
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        outcome = run_emostream("serve", "--port", port, "--redis", "redis://127.0.0.1:9")
    message = f"cannot listen on 127.0.0.1, port {port}: Address already in use; choose another --port"
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid", "2001:db8::7"])
def test_an_address_of_another_machine(host: str) -> None:
    pytest.importorskip("ray")
    outcome = run_emostream("serve", "--host", host, "--redis", "redis://127.0.0.1:9")
    assert outcome.code == 2, outcome.err
    assert f"cannot listen on {host}, port 8000: " in outcome.err and "choose another --host" in outcome.err


async def test_a_second_service_is_refused_the_database_of_another(
    redis_server: EmbeddedRedis, store: RegistryStore, leases_of: LeasesOf
) -> None:
    await store.claim("north")
    await leases_of("w1", ttl_seconds=60).heartbeat({})
    outcome = await asyncio.to_thread(run_emostream, "serve", "--redis", redis_server.url)
    assert (outcome.code, "used by the service 'north'" in outcome.err) == (2, True), outcome.err
