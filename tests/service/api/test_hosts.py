"""Under which names the interface answers, and that other origins embed nothing of it."""

from __future__ import annotations

import functools
import json
import socket
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from emostream.config import load_settings
from emostream.service.api.app import build_api
from emostream.service.api.hosts import HostGuard, HostNames
from tests.service.asgi import Exchange, scope_of

TOKENS = [{"name": "a", "sha256": "0" * 64, "scopes": ["write"]}]


@functools.cache
def interface(service: str) -> FastAPI:
    """Without its Redis: what is tested here comes before it. Takes a second to make."""
    return build_api(load_settings(service=json.loads(service)), redis_url="redis://127.0.0.1:9/0")


async def answer_under(host: str, path: str = "/console/none.js", **service: Any) -> httpx.Response:
    transport = httpx.ASGITransport(interface(json.dumps(service)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.get(path, headers={"Host": host})


OURS = [
    "127.0.0.1:8000", "192.168.1.20", "[::1]:8000", "[2001:db8::1]", "localhost", "LOCALHOST:8000", "app.localhost",
    "emostream-serve-svc:8000", "nas.local", "nas.local.:8000", "emostream.video.svc.cluster.local", "x.internal",
    socket.gethostname(),
]  # fmt: skip
OTHERS = [
    "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "1.2.3.4.5",
    "evil.com.", "[::1].evil.example", "evil.local.example", "127.0.0.1:8000.evil.example", "a@evil.example",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
async def test_addresses_and_local_names_are_accepted(host: str) -> None:
    assert (await answer_under(host)).status_code == 404  # there is no such file


@pytest.mark.parametrize("host", OTHERS)
@pytest.mark.parametrize("path", ["/", "/v1/streams", "/metrics", "/openapi.json", "/docs"])
async def test_a_name_on_the_internet_is_refused(host: str, path: str) -> None:
    answer = await answer_under(host, path)
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


async def test_names_that_the_operator_allows() -> None:
    allowed = ["video.example.org", "*.cams.example.org"]
    for host in ("video.example.org", "VIDEO.example.org:443", "a.b.cams.example.org", "127.0.0.1"):
        assert (await answer_under(host, allowed_hosts=allowed)).status_code == 404
    for host in ("example.org", "xvideo.example.org", "cams.example.org", "evilcams.example.org"):
        assert (await answer_under(host, allowed_hosts=allowed)).status_code == 421
    assert (await answer_under("evil.example", allowed_hosts=["*"])).status_code == 404


async def test_with_tokens_names_are_checked_only_where_they_are_listed() -> None:
    assert (await answer_under("video.example.org", tokens=TOKENS)).status_code == 404
    answer = await answer_under("evil.example", tokens=TOKENS, allowed_hosts=["video.example.org"])
    assert answer.status_code == 421


async def test_health_is_answered_under_any_name() -> None:
    assert (await answer_under("evil.example", "/livez")).status_code == 200


@pytest.mark.parametrize(("hosts", "status"), [([], 200), ([b"x", b"evil.example"], 421), ([b"\xff.example"], 421)])
async def test_heads_that_no_browser_sends(hosts: list[bytes], status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    exchange = Exchange()
    await exchange.with_app(HostGuard(app, names=HostNames([])), scope_of(headers=[(b"host", host) for host in hosts]))
    assert exchange.status == status


@pytest.mark.parametrize("path", ["/livez", "/v1/streams/x/y", "/openapi.json", "/", "/docs", "/nothing"])
async def test_no_answer_may_be_embedded_by_other_origins(path: str) -> None:
    headers = (await answer_under("localhost", path)).headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
