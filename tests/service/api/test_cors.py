"""Which web pages of other origins may call the interface, asked as browsers ask, and by a real browser."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Page, sync_playwright

from emostream.client import ServiceClient
from emostream.config import ServiceSettings, load_settings
from emostream.errors import ConfigError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.publish.redis.sink import RedisSink
from emostream.service.api.app import build_api
from tests.browser import launch_chromium
from tests.ports import unused_port
from tests.publish.samples import events_of
from tests.service.conftest import SETTINGS

CONSOLE = "https://dashboard.example.org"
TOKENS = [{"name": "a", "sha256": hashlib.sha256(b"secret").hexdigest(), "scopes": ["write"]}]
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type"}


def interface(**service: Any) -> httpx.AsyncClient:
    """The interface without its Redis: what is tested here comes before it."""
    app = build_api(load_settings(service=service), redis_url="redis://127.0.0.1:9/0")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def test_by_default_no_other_origin_may() -> None:
    async with interface() as client:
        answer = await client.get("/livez", headers={"Origin": CONSOLE})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        answer = await client.options("/v1/streams/door", headers={"Origin": CONSOLE, **PREFLIGHT})
        assert answer.status_code == 405


async def test_only_listed_origins_may() -> None:
    async with interface(allowed_origins=[CONSOLE, "http://localhost:5173"]) as client:
        for origin, may in {
            CONSOLE: True,
            "http://localhost:5173": True,
            "http://localhost:5174": False,
            "http://dashboard.example.org": False,
            f"{CONSOLE}.evil.example": False,
            "https://evil.example": False,
            "null": False,
        }.items():
            asked = await client.options("/v1/streams/door", headers={"Origin": origin, **PREFLIGHT})
            answer = await client.get("/livez", headers={"Origin": origin})
            assert answer.status_code == 200
            for each in (asked, answer):
                assert each.headers.get("access-control-allow-origin") == (origin if may else None)
                assert "access-control-allow-credentials" not in each.headers
                assert "Origin" in each.headers.get("vary", "")
            assert asked.is_success == may
        assert "access-control-allow-origin" not in (await client.get("/livez")).headers


async def test_what_may_be_sent_and_read() -> None:
    async with interface(allowed_origins=[CONSOLE]) as client:
        asked = await client.options("/v1/streams/door", headers={"Origin": CONSOLE, **PREFLIGHT})
        assert "PATCH" in asked.headers["access-control-allow-methods"]
        named = asked.headers["access-control-allow-headers"].lower()
        assert all(name in named for name in ("authorization", "content-type", "last-event-id"))
        asked = await client.options("/", headers={"Origin": CONSOLE, "Access-Control-Request-Method": "TRACE"})
        assert asked.status_code == 400
        exposed = (await client.get("/livez", headers={"Origin": CONSOLE})).headers["access-control-expose-headers"]
        assert {"Retry-After", "X-Frame-Index"} <= set(exposed.split(", "))


async def test_refusals_can_be_read_and_questions_need_no_token() -> None:
    options = {"allowed_origins": [CONSOLE], "tokens": TOKENS, "max_requests_per_second": 1, "max_body_bytes": 1024}
    async with interface(**options) as client:
        assert (await client.options("/v1/streams", headers={"Origin": CONSOLE, **PREFLIGHT})).is_success
        headers = {"Origin": CONSOLE, "Authorization": "Bearer secret"}
        refusals = [await client.get("/v1/models", headers={"Origin": CONSOLE})]
        refusals += [await client.post("/v1/images", headers=headers, content=bytes(2000))]
        refusals += [await client.get("/v1/nothing", headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in refusals] == [401, 413, 404, 429, 429]
        assert {answer.headers["access-control-allow-origin"] for answer in refusals} == {CONSOLE}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Dashboard.Example.org/", "https://dashboard.example.org"),
        ("http://localhost:80", "http://localhost"),
        ("https://a.example:443", "https://a.example"),
        ("http://[::1]:5173", "http://[::1]:5173"),
        ("http://a.example:443", "http://a.example:443"),
    ],
)
def test_origins_are_kept_as_browsers_send_them(given: str, kept: str) -> None:
    assert ServiceSettings(allowed_origins=(given,)).allowed_origins == (kept,)


@pytest.mark.parametrize(
    "wrong", ["*", "null", "", "dashboard.example.org", "https://*.example.org", "https://a.example/path", "file:///a"]
)
def test_what_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="allowed_origins"):
        load_settings(service={"allowed_origins": [wrong]})


# --- a real browser ---------------------------------------------------------------------------------------------------

# The browser's own EventSource goes on by itself after the last event when the connection ends.
READ = """([url, count]) => new Promise((resolve, reject) => {
  const source = new EventSource(url), ids = [];
  source.addEventListener("emotion", (event) => {
    ids.push(JSON.parse(event.data).frame_index);
    if (ids.length === count) { source.close(); resolve(ids); }
  });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED || !ids.length) reject(new Error("refused")); };
}).catch((error) => error.message)"""
CALL = """(url) => fetch(url, {
  method: "PATCH", headers: { Authorization: "Bearer x", "Content-Type": "application/json" }, body: "{}",
}).then((answer) => answer.status, () => "refused")"""


@contextmanager
def pages(folder: Path) -> Iterator[int]:
    """Port of a server of an empty page."""
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def served(redis_url: str, **service: Any) -> Iterator[str]:
    port = unused_port()
    app = build_api(load_settings(service=service), redis_url=redis_url)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.integration
@pytest.mark.slow
def test_a_browser_follows_events_from_a_listed_origin_only(tmp_path: Path) -> None:
    async def publish(url: str) -> None:
        async with RedisSink(SETTINGS, redis_url=url) as sink:
            await sink.publish(events_of("door", range(3)))

    with EmbeddedRedis() as redis, pages(tmp_path) as port:
        asyncio.run(publish(redis.url))
        use_browser(redis.url, port)


def use_browser(redis_url: str, port: int) -> None:
    def opened(page: Page, host: str) -> Page:
        page.goto(f"http://{host}:{port}/")
        return page

    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page()
        options: Any = {"allowed_origins": [f"http://localhost:{port}"], "allowed_networks": ["127.0.0.0/8"]}
        with served(redis_url, **options) as service:
            with ServiceClient(service) as client:
                client.add("rtsp://127.0.0.1:9/1", stream_id="door")
            events = f"{service}/v1/streams/door/events?from=start"
            assert opened(page, "localhost").evaluate(READ, [events, 3]) == [0, 1, 2]
            assert page.evaluate(CALL, f"{service}/v1/streams/door") == 200
            assert opened(page, "127.0.0.1").evaluate(READ, [events, 3]) == "refused"
            assert page.evaluate(CALL, f"{service}/v1/streams/door") == "refused"
        browser.close()
