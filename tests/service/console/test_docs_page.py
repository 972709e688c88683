"""`/docs` in a real browser that reaches this machine only: it shows the interface, asks nobody else, and calls it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from emostream.publish.redis.embedded import EmbeddedRedis
from tests.service.console.conftest import WAIT_MS, OpenPage, keep_picture
from tests.service.console.service_process import Service, running_service

pytestmark = pytest.mark.integration

TOKENS = [{"name": "t", "sha256": hashlib.sha256(b"secret").hexdigest(), "scopes": ["read"]}]


@pytest.fixture(scope="module")
def guarded(redis_server: EmbeddedRedis) -> Iterator[Service]:
    """The interface alone, which asks for a token."""
    with running_service(redis_server.url, with_worker=False, service={"tokens": TOKENS}) as service:
        yield service


def test_it_shows_every_operation_without_requests_elsewhere(guarded: Service, open_page: OpenPage) -> None:
    page = open_page(guarded.url + "docs")
    document = httpx.get(guarded.url + "openapi.json").json()
    operations = [method for path in document["paths"].values() for method in path]
    expect(page.locator(".opblock")).to_have_count(len(operations), timeout=WAIT_MS)
    assert page.title() == "emostream: the interface"
    keep_picture(page, "docs")


def test_it_calls_the_interface_with_a_token(guarded: Service, open_page: OpenPage) -> None:
    page = open_page(guarded.url + "docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").fill("secret")
    page.locator(".auth-btn-wrapper .authorize").click()
    page.locator(".auth-btn-wrapper .btn-done").click()
    assert _status_of_list(page) == "200"
    page.goto(guarded.url + "docs")
    assert _status_of_list(page) == "401", "the token is kept nowhere"


def _status_of_list(page: Page) -> str:
    """Of a list of all streams, asked for with the mouse."""
    operation = (
        page.locator(".opblock")
        .filter(has=page.locator("[data-path='/v1/streams']"))
        .filter(has=page.locator(".opblock-summary-method", has_text=re.compile("^GET$")))
    )
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    shown = operation.locator(".live-responses-table .response-col_status").last
    expect(shown).to_be_visible(timeout=WAIT_MS)
    return shown.inner_text().split()[0]


def test_its_files_name_no_other_host_to_load_from(guarded: Service) -> None:
    with httpx.Client(base_url=guarded.url) as client:
        page = client.get("docs")
        assert page.status_code == 200
        targets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(targets) == 4
        assert not [target for target in targets if "//" in target]
        for target in targets:
            answer = client.get(target)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "http" not in policy
            assert client.get(target, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        assert client.get("docs/other.js").status_code == 404
        assert client.get("redoc").status_code == 404
