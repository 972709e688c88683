"""A real Chromium for tests and benchmarks: Debian's, nothing is downloaded."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

_NUM_CAPTURES = 5


def launch_chromium(playwright: Playwright, *more: str) -> Browser:
    """A browser without a window, with more arguments; where Chromium is not installed the test is skipped."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium: run tests/install-debian-packages.sh")
    # Continuous integration runs as root, where Chromium has no sandbox.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", *more]
    return playwright.chromium.launch(executable_path=path, args=arguments)


def keep_screenshot(page: Page, path: Path, *, full_page: bool = False) -> Path:
    """A picture of the page as PNG, for people to look at; its folder is made.

    Chromium now and then refuses a capture, mostly its first, and takes the same picture when asked again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_NUM_CAPTURES - 1):
        try:
            page.screenshot(path=path, full_page=full_page)
        except Error as error:
            if "Unable to capture screenshot" not in error.message:
                raise
            page.wait_for_timeout(500)
        else:
            return path
    page.screenshot(path=path, full_page=full_page)
    return path


def assert_accessible(page: Page) -> None:
    """No violation that axe knows of."""
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    assert found == [], json.dumps([{each["id"]: [node["html"] for node in each["nodes"]]} for each in found], indent=1)


def assert_readable(path: Path, *, scheme: Literal["light", "dark"], width: int) -> None:
    """A page in a file is no wider than the window, asks for nothing but itself, and axe knows no violation."""
    asked: list[str] = []
    messages: list[str] = []
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 1000})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.goto(path.as_uri())
        is_wider = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert_accessible(page)
        browser.close()
    assert [url for url in asked if not url.startswith("data:image/")] == [path.as_uri()]
    assert messages == []
    assert not is_wider
