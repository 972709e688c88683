"""The console over HTTP: its files, their headers, and that a page made of them asks nobody else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest
from fastapi import FastAPI

from emostream.config import load_settings
from emostream.render.palette import EMOTION_COLOURS, OTHER_COLOUR, UNKNOWN_COLOUR, hex_of
from emostream.service.api.app import build_api
from emostream.service.console.pages import add_console, console_files
from tests.conftest import REPOSITORY

STATIC = REPOSITORY / "emostream" / "service" / "console" / "static"
MODULES = sorted(path.name for path in STATIC.glob("*.js"))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    add_console(app)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://console") as client:
        yield client


class Page(HTMLParser):
    """What the markup refers to and holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.preloaded: list[str] = []
        self.attributes: set[str] = set()
        self.inline: list[str] = []
        self._is_in_code = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes |= found.keys()
        target = found.get("src") or found.get("href")
        if target and tag in ("script", "link", "img", "iframe"):
            self.links.append(target)
        if found.get("rel") == "modulepreload" and target:
            self.preloaded.append(target)
        self._is_in_code = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._is_in_code = False

    def handle_data(self, data: str) -> None:
        if self._is_in_code and data.strip():
            self.inline.append(data)


async def test_the_page_and_its_files_are_there(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(response.text)
    for link in page.links:
        found = await client.get("/" + link)
        assert found.status_code == 200, link
    assert sorted(page.preloaded) == [f"console/{name}" for name in MODULES if name != "main.js"]


async def test_nothing_in_the_markup_needs_more_than_the_policy_allows(client: httpx.AsyncClient) -> None:
    page = Page((await client.get("/")).text)
    assert page.inline == []
    assert "style" not in page.attributes
    assert not [name for name in page.attributes if name.startswith("on")]
    assert all(re.fullmatch(r"console/[a-z_]+\.(js|css|svg)", link) for link in page.links)


@pytest.mark.parametrize("path", ["/", "/console/main.js", "/console/palette.json"])
async def test_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


async def test_what_a_browser_has_already_is_not_sent_again(client: httpx.AsyncClient) -> None:
    etag = (await client.get("/console/main.js")).headers["etag"]
    for known in (etag, f'"other", W/{etag}'):
        again = await client.get("/console/main.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await client.get("/console/main.js", headers={"If-None-Match": '"other"'})).status_code == 200
    head = await client.head("/console/main.js")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpages.py", "%2e%2e/pages.py", "index.html", ""])
async def test_there_are_no_other_files(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/console/{name}")).status_code == 404


async def test_the_console_needs_no_token_and_the_service_does() -> None:
    settings = load_settings(service={"tokens": [{"name": "me", "sha256": "0" * 64, "scopes": ["read"]}]})
    transport = httpx.ASGITransport(app=build_api(settings, redis_url="redis://127.0.0.1:9/0"))
    async with httpx.AsyncClient(transport=transport, base_url="http://console") as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/v1/streams")).status_code == 401


def test_emotions_have_the_colours_of_annotated_videos() -> None:
    palette = json.loads(console_files()["palette.json"].content)
    assert palette["other"] == hex_of(OTHER_COLOUR)
    assert palette["unknown"] == hex_of(UNKNOWN_COLOUR)
    assert palette["emotions"] == {name: hex_of(colour) for name, colour in EMOTION_COLOURS.items()}


@pytest.mark.parametrize("name", MODULES)
def test_modules_use_text_only_and_the_service_only(name: str) -> None:
    source = (STATIC / name).read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source)
    source = source.replace("http://www.w3.org/2000/svg", "")  # a name of drawings, of which no file is asked for
    assert not re.search(r"""["'`](https?:)?//""", source)
    imports = re.findall(r'from "([^"]+)"', source)
    assert all(target.removeprefix("./") in MODULES for target in imports)
