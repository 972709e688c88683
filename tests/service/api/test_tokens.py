"""Tokens of a file, which come and go while the service runs, and what their scopes allow."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from emostream.config import TokenSettings, load_settings
from emostream.errors import ConfigError
from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.tokens import Scope, Tokens, allows
from emostream.service.registry.store import RegistryStore
from emostream.service.registry.streams import StreamRegistry
from tests.media import http_server
from tests.service.http_service import served_api
from tests.service.streams import live_record

WAIT_SECONDS = 60.0


def entry_of(token: str, *scopes: str) -> dict[str, Any]:
    hashed = hashlib.sha256(token.encode()).hexdigest()
    return {"name": f"of {token}", "sha256": hashed, "scopes": list(scopes or ("read",))}


def write(path: Path, *entries: dict[str, Any]) -> None:
    """As a secret that is mounted changes: a new file takes the place."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(entries))
    new.replace(path)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("has", ["read", "fetch", "write"])
@pytest.mark.parametrize("wanted", ["read", "fetch", "write"])
def test_each_scope_includes_those_before_it(has: Scope, wanted: Scope) -> None:
    order = ["read", "fetch", "write"]
    entry = TokenSettings(name="x", sha256="0" * 64, scopes=(has,))
    assert allows(entry, wanted) == (order.index(has) >= order.index(wanted))


@pytest.mark.parametrize("text", [None, "- name: x", "name: x", "[", "- {name: x, sha256: secret}", "\x00", "7"])
def test_a_file_that_is_none_stops_the_start_and_is_not_repeated(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "tokens.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Tokens(file=file)
    assert str(file) in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_file_is_read_again_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text("")
    of_settings = [TokenSettings(**entry_of("always"))]
    tokens = Tokens(of_settings, file=file)
    assert tokens.find("one") is None
    async with tokens.followed():
        write(file, entry_of("one"))
        await eventually(lambda: tokens.find("one") is not None)
        for broken in ("- secret: [", None):
            if broken is None:
                file.unlink()
            else:
                file.write_text(broken)
            with caplog.at_level(logging.ERROR):
                caplog.clear()
                await eventually(lambda: bool(caplog.records))
            assert "secret" not in caplog.text
            assert tokens.find("one") is not None
        write(file)
        await eventually(lambda: tokens.find("one") is None)
        assert tokens.find("always") is not None
        assert tokens.are_needed
    assert Tokens(file=file).are_needed, "an empty file must open no door"


class Readers:
    """Those who read events of the stream `door`: token → texts so far, and whether it ended in order."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.read: dict[str, bytes] = {}
        self.ended: set[str] = set()

    async def follow(self, token: str, path: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=WAIT_SECONDS, headers=headers) as client,
            client.stream("GET", path) as answer,
        ):
            assert answer.status_code == 200
            self.read[token] = b""
            async for part in answer.aiter_raw():
                self.read[token] += part
        self.ended.add(token)


@asynccontextmanager
async def interface(redis_url: str, file: Path, **service: Any) -> AsyncIterator[str]:
    settings = load_settings(service={"tokens_file": file, **service})
    async with served_api(settings, redis_url=redis_url) as url:
        yield url


@pytest.mark.integration
@pytest.mark.parametrize("path", ["events", "preview.mjpeg"])
async def test_what_is_open_with_a_withdrawn_token_ends_and_nothing_else(
    store: RegistryStore, redis_server: EmbeddedRedis, tmp_path: Path, path: str
) -> None:
    await StreamRegistry(store).create(live_record())
    file = tmp_path / "tokens.json"
    write(file, entry_of("stays"), entry_of("goes"))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(interface(redis_server.url, file))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
        readers = Readers(url)
        following = {
            token: asyncio.create_task(readers.follow(token, f"/v1/streams/door/{path}")) for token in ("stays", "goes")
        }
        await eventually(lambda: len(readers.read) == 2)
        write(file, entry_of("stays"), entry_of("comes"))
        await asyncio.wait_for(following["goes"], WAIT_SECONDS)
        assert readers.ended == {"goes"}, "the answer was cut off"
        statuses = {
            token: (await client.get("/v1/streams", headers={"Authorization": f"Bearer {token}"})).status_code
            for token in ("stays", "goes", "comes")
        }
        assert statuses == {"stays": 200, "goes": 401, "comes": 200}
        assert not following["stays"].done()
        following["stays"].cancel()
        await asyncio.gather(*following.values(), return_exceptions=True)


@pytest.mark.integration
async def test_fetching_a_url_needs_its_own_scope(
    store: RegistryStore, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.json"
    write(file, entry_of("reader"), entry_of("fetcher", "fetch"))
    with http_server(tmp_path) as base:
        async with (
            interface(redis_server.url, file, allowed_networks=["127.0.0.0/8"]) as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            for kind in ("application/json", "Application/JSON ; charset=utf-8"):
                answers = {
                    token: await client.post(
                        "/v1/images",
                        content=json.dumps({"url": f"{base}/none.jpg"}),
                        headers={"Authorization": f"Bearer {token}", "Content-Type": kind},
                    )
                    for token in ("reader", "fetcher")
                }
                assert {token: answer.status_code for token, answer in answers.items()} == {
                    "reader": 403,
                    "fetcher": 422,  # there is no such picture
                }
            sent = await client.post("/v1/images", content=b"no picture", headers={"Authorization": "Bearer reader"})
            assert sent.status_code == 422
