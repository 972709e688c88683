"""Tokens in the console: asked for, refused, kept in the tab, and what one that may only read can do."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from emostream.publish.redis.embedded import EmbeddedRedis
from emostream.service.api.tokens import token_hash
from tests.service.console.conftest import OpenPage, keep_picture
from tests.service.console.service_process import Service, running_service

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def guarded(redis_server: EmbeddedRedis) -> Iterator[Service]:
    """A service with a token for reading and one for everything, without a worker; its stream is removed at the end."""
    tokens = [
        {"name": "guard", "sha256": token_hash("may-read"), "scopes": ["read"]},
        {"name": "owner", "sha256": token_hash("may-write"), "scopes": ["write"]},
    ]
    settings = {"tokens": tokens, "previews": "off"}
    with running_service(redis_server.url, with_worker=False, service=settings) as service:
        yield service
        httpx.delete(f"{service.url}v1/streams/door", headers={"Authorization": "Bearer may-write"}, timeout=30)


def test_the_console_prompts_for_a_token_and_sends_it_in_a_header_only(guarded: Service, open_page: OpenPage) -> None:
    page = open_page(guarded.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    token = page.get_by_label("Token", exact=True)
    use = page.get_by_role("button", name="Use token")
    expect(token).to_be_focused()
    token.fill("two words")
    use.click()
    expect(page.locator("#field-token-error")).to_contain_text("no spaces")
    token.fill("wrong")
    use.click()
    expect(page.get_by_text("rejected the token")).to_be_visible()
    keep_picture(page, "token-refused")
    token.fill("may-read")
    use.click()
    expect(page.get_by_text("No streams yet")).to_be_visible()
    page.get_by_role("button", name="Add stream").click()
    page.get_by_label("Address").fill("rtsp://93.184.215.14/camera")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("may not write")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    expect(page.get_by_text("No streams yet")).to_be_visible()
    page.locator("#token").click()
    token.fill("may-write")
    use.click()
    page.get_by_role("button", name="Add stream").click()
    page.get_by_label("Address").fill("rtsp://93.184.215.14/camera")
    page.get_by_label("Name (optional)").fill("door")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("link", name="door")).to_be_visible()
    forbidden_changes_say_so(page)
    assert not [url for url in asked if "may-" in url or "wrong" in url]
    assert page.evaluate("JSON.stringify(localStorage)").find("may-") < 0


def forbidden_changes_say_so(page: Page) -> None:
    """With a token that may only read, on the page of a stream, of its zones and of jobs."""
    page.get_by_role("link", name="door").click()
    page.evaluate("sessionStorage.setItem('emostream.token', 'may-read')")
    page.get_by_role("button", name="Edit door").click()
    page.get_by_label("Maximum frames per second").fill("4")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_contain_text("may not write")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Zones").click()
    page.get_by_role("button", name="Add zone").click()
    for key in ("Enter", "Shift+ArrowLeft", "Enter", "Shift+ArrowUp", "Enter"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".zones-page > .field-error")).to_contain_text("may not write")
    page.get_by_role("button", name="Discard changes").click()
    page.get_by_role("link", name="Jobs").click()
    page.get_by_role("button", name="Add job").click()
    page.get_by_label("Folder").fill("file:///srv/media/")
    page.get_by_label("Name", exact=True).fill("archive")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("may not write")


def test_a_closed_token_dialog_stays_closed(guarded: Service, open_page: OpenPage) -> None:
    page = open_page(guarded.url)
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#trouble")).to_contain_text("token")
    page.wait_for_timeout(3000)
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_previews_that_the_operator_switched_off(guarded: Service, open_page: OpenPage) -> None:
    page = open_page(guarded.url, is_loaded=False)
    page.add_init_script("sessionStorage.setItem('emostream.token', 'may-read')")
    page.goto(guarded.url)
    page.evaluate(
        """async () => {
          const { Preview } = await import(new URL("console/preview.js", document.baseURI));
          const { PreviewHub } = await import(new URL("console/preview_hub.js", document.baseURI));
          const preview = new Preview("door", { isSmall: false });
          document.querySelector("main").append(preview.element);
          new PreviewHub("full").watch("door", preview);
        }"""
    )
    expect(page.locator(".preview:not(.small) .preview-note")).to_contain_text("service.previews")
